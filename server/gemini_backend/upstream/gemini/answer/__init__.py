"""Gemini's answers as messages of the contract: streamed or whole, with their usage and end."""

from __future__ import annotations

from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream

__all__ = ["AnswerStream", "usage"]
