"""Gemini over REST and server-sent events.

Seen from outside: `GeminiUpstream` and its `GeminiOptions`. Inside, from the wire inwards:
`transport` (connections), `sse` (bytes to events), `decode` (events to fields), `reading` and
`answer` (fields to messages of the contract), `writing` (the other way), `failures` (what went
wrong, typed).
"""

from __future__ import annotations

from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.options import GeminiOptions

__all__ = ["GeminiOptions", "GeminiUpstream"]
