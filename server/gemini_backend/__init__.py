"""Gemini Backend: a typed, streaming gRPC service between programs and Google Gemini."""
