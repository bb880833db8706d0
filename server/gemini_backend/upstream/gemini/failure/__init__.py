"""Gemini's failures as typed errors, with every key masked."""
