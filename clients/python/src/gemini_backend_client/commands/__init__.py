"""The commands of `gemini-backend` that call a running server."""
