"""Gemini over REST and server-sent events.

Seen from outside: `provider`, by `upstream/factory.py` alone. Inside, from the wire inwards:
`transport` (connections), `end_of_body` and `sse` (bytes to events), `decode`, `loose` and `texts`
(events to fields), `reading` and `answers` (fields to messages of the contract), `ends` and
`verdict` (whether an answer is whole, and what it is), `writing` (the other way), `failures` (what
went wrong, typed).
"""

from __future__ import annotations

from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.options import GeminiOptions

__all__ = ["GeminiOptions", "GeminiUpstream"]
