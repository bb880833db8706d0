"""Gemini's JSON and the contract's messages, one into the other, without losing anything."""
