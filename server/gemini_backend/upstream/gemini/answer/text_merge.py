"""Runs of plain text that arrive together, joined into one piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.translation import base64_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.upstream.gemini.translation import wire

ROLES: Final = ("model", None)
"""Whose texts are handed on as they are; another role is looked through for secrets."""


class Run:
    """Consecutive events with one text of one candidate each, and nothing else that matters."""

    __slots__ = ("_index", "_part", "_role", "_texts", "answer", "event")

    def __init__(self, answer: wire.Answer, part: wire.Part, text: str, event: int) -> None:
        """Begin with an event of which `part` is the only part, and `text` its text."""
        candidate = answer.candidates[0]
        self.answer = answer
        self.event = event
        self._part = part
        self._texts = [text]
        self._index = candidate.index
        self._role = candidate.content.role if candidate.content else None

    @classmethod
    def begin(cls, answer: wire.Answer, event: int) -> Run | None:
        """Return a run of this event; None when it is none that could be joined to others."""
        part = only_text(answer)
        if part is None or part.text is None or not _is_readable(answer.candidates[0]):
            return None
        return cls(answer, part, part.text, event)

    def join(self, answers: Sequence[wire.Answer]) -> int:
        """Take the next events into the run as far as they go on; return how many these are.

        Each goes on where the last one ended: all but the text and the counts is the same. What
        `only_text` and `may_end` look at is spelt out: calls would cost as much as all the rest.
        """
        last, texts = self.answer, self._texts
        if may_end(last.candidates[0]):
            return 0
        index, role, thought = self._index, self._role, self._part.thought
        version, response, time = last.model_version, last.response_id, last.create_time
        counts = last.usage_metadata
        before = len(texts)
        for answer in answers:
            candidates = answer.candidates
            candidate = candidates[0]
            content = candidate.content
            if content is None or content.parts is None:
                break
            parts = content.parts
            part = parts[0]
            text = part.text
            if (
                text is None
                or len(parts) != 1
                or len(candidates) != 1
                or content.role != role
                or candidate.index != index
                or part.thought is not thought
                or part.thought_signature is not None
                or part.function_call is not None
                or answer.model_version != version
                or answer.response_id != response
                or answer.create_time != time
                or not usage.supersedes(answer.usage_metadata, counts)
                or (candidate.continuation_token is not None and not _is_readable(candidate))
            ):
                break
            texts.append(text)
            last, counts = answer, answer.usage_metadata
            if candidate.finish_reason is not None or candidate.continuation_token is not None:
                break
        self.answer = last
        joined = len(texts) - before
        self.event += joined
        return joined

    def joined(self) -> wire.Answer:
        """Return the run as one event: the last one, with the text of all."""
        if len(self._texts) > 1:
            self._part.text = "".join(self._texts)
            content = self.answer.candidates[0].content
            if content is not None:
                content.parts = [self._part]
        return self.answer


def may_end(candidate: wire.Candidate) -> bool:
    """Say whether a piece has what may end its candidate."""
    return candidate.finish_reason is not None or candidate.continuation_token is not None


def _is_readable(candidate: wire.Candidate) -> bool:
    """Say whether the token of a candidate is one, if it has any."""
    token = candidate.continuation_token
    return token is None or base64_text.bytes_of(token) is not None


def only_text(answer: wire.Answer) -> wire.Part | None:
    """Return the only part of an answer where that may be text; None where there is more to it."""
    candidates = answer.candidates
    if len(candidates) != 1:
        return None
    content = candidates[0].content
    if content is None or content.parts is None or len(content.parts) != 1:
        return None
    part = content.parts[0]
    if part.thought_signature is not None or part.function_call is not None:
        return None
    return part
