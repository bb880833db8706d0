"""The body of an answer, from bytes to the JSON values that it holds."""

from __future__ import annotations

from gemini_backend.upstream.gemini.body import decode
from gemini_backend.upstream.gemini.body.split_characters import REPLACED, Texts
from gemini_backend.upstream.gemini.body.sse import EventReader
from gemini_backend.upstream.gemini.body.whole_body import is_whole, object_of, payloads_of

__all__ = ["REPLACED", "EventReader", "Texts", "decode", "is_whole", "object_of", "payloads_of"]
