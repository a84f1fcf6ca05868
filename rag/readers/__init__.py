"""From a document's bytes to its text; runs in the parsing child only."""
