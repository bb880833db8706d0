"""`gemini-backend config`: the configuration of this machine, and that of a running server."""
