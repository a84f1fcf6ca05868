"""Commands on memory's rows."""
