"""`gemini-backend upstream-keys`: keys of Gemini, in this machine's store or through a server."""
