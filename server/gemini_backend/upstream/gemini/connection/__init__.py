"""Connections to Gemini: opened, pooled, bounded, and read up to the end of each body."""
