"""`gemini-backend keys`: API keys of callers, on this machine's store or through a server."""
