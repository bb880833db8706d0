"""`gemini-backend audit`: the audit log, on this machine or through a server."""
