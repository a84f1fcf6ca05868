"""Commands on the gateway's rows."""
