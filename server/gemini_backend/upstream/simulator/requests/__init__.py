"""Requests to the simulator: decoded and checked as Gemini does it."""
