"""`gemini-backend keys`: API keys of callers, on this machine's store or through a server."""

from __future__ import annotations

from gemini_backend.commands.keys.check import api_key_problems

__all__ = ["api_key_problems"]
