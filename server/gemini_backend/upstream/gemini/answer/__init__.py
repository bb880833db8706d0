"""Gemini's answers as messages of the contract: streamed or whole, with their usage and end."""
