"""How many tokens a request has: its texts and media, counted or estimated."""

from __future__ import annotations

from gemini_backend.processing.tokens.call_rendering import as_json

__all__ = ["as_json"]
