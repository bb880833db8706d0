"""Requests of the contract as Gemini takes them, and where each one goes."""
