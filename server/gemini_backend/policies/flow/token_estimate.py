"""Tokens of a request by rule of thumb, and of an answer as it was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.processing.tokens.rules_of_thumb import MEDIUM_TOKENS, typical_tokens

if TYPE_CHECKING:
    from gemini.backend.v1.content_pb2 import Content, Usage
    from gemini_backend.errors import ServiceError


def estimated_tokens(request: Any) -> int:
    """Return about how many input tokens a request has: a token for four characters.

    Anything that is no text counts as one picture. At least 1.
    """
    characters = len(request.prompt)
    media = 0
    contents, system = request.contents, request.system_instruction
    if contents or system.parts:
        for content in (system, *contents):
            more, other = _size(content)
            characters += more
            media += other
    return max(1, typical_tokens(characters) + media * MEDIUM_TOKENS)


def _size(content: Content) -> tuple[int, int]:
    texts = [part.text for part in content.parts if part.text]
    return sum(map(len, texts)), len(content.parts) - len(texts)


def usage_of(answer: Any) -> Usage | None:
    """Return the usage that an answer, or the last event of one, tells; None without counts."""
    if answer is None:
        return None
    for place in ("completed", "delta"):
        if place in answer.DESCRIPTOR.fields_by_name and answer.HasField(place):
            answer = getattr(answer, place)
            break
    if "usage" not in answer.DESCRIPTOR.fields_by_name or not answer.HasField("usage"):
        return None
    return _with_counts(answer.usage)


def _with_counts(usage: Usage) -> Usage | None:
    """Return a usage that counts anything: one that only names its terms settles nothing."""
    return usage if usage.total_token_count or usage.prompt_token_count else None


def total_of(usage: Usage) -> int:
    """Return all tokens of a usage, those of its parts where no total was reported; never < 0."""
    parts = (
        usage.prompt_token_count,
        usage.candidates_token_count,
        usage.thoughts_token_count,
        usage.tool_use_prompt_token_count,
    )
    return max(0, usage.total_token_count) or sum(max(0, part) for part in parts)


def not_cached(usage: Usage) -> int:
    """Return all tokens of a usage but those that came out of Gemini's context cache."""
    cached = max(0, min(usage.cached_content_token_count, usage.prompt_token_count))
    return max(0, total_of(usage) - cached)


def usage_of_failure(error: ServiceError, last: Any) -> Usage | None:
    """Return the usage that a failure tells, or else the last event before it."""
    failure = error.failure
    if failure and failure.HasField("usage"):
        return _with_counts(failure.usage)
    return usage_of(last)
