"""Events that are a text and what it has used: what most of them have in common is written once.

From the second one on, a message of the answer's own is written over and copied. That costs less
than half of making each of its parts anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini.backend.v1.execute_service_pb2 import ExecuteResponse
from gemini_backend.upstream.gemini.answer import usage

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.translation import wire


_FORMS = 3
"""Forms that are made for one answer at most: where more than counts differs, they do not pay."""


class TextEvents:
    """Makes the events of one answer."""

    __slots__ = ("_begun", "_form", "_forms")

    def __init__(self) -> None:
        """Begin with the first one."""
        self._begun = False
        self._form: _Form | None = None
        self._forms = 0

    def event(
        self,
        text: str,
        number: int,
        index: int | None,
        role: str | None,
        counts: wire.Usage | None,
    ) -> ExecuteResponse:
        """Return the event with a text.

        Args:
            text: The text, not empty.
            number: Which of Gemini's events it is.
            index: The candidate's, as it came.
            role: The candidate's, as it came.
            counts: What the event says of usage.
        """
        form = self._form
        if form is not None and counts is not None and form.index == index and form.role == role:
            filled = form.filled(text, number, counts)
            if filled is not None:
                return filled
        event = made(text, number, index, role, counts)
        if not self._begun or counts is None or self._forms == _FORMS:
            self._begun = True
            return event
        self._forms += 1
        form = self._form = _Form(event, index, role, counts)
        return form.copy()


class _Form:
    """An event that is written over for each one of a candidate whose usage is alike."""

    __slots__ = ("_counts", "_delta", "_event", "_part", "_usage", "index", "role")

    def __init__(
        self, event: ExecuteResponse, index: int | None, role: str | None, counts: wire.Usage
    ) -> None:
        self._event = event
        self._delta = event.delta
        self._part = event.delta.parts[0]
        self._usage = event.delta.usage
        self.index = index
        self.role = role
        self._counts = msgspec.structs.replace(counts)  # its own, to compare others with

    def filled(self, text: str, number: int, counts: wire.Usage) -> ExecuteResponse | None:
        """Return a copy for an event; None where more than the answer's tokens and total differ."""
        tokens, total, known = counts.candidates_token_count, counts.total_token_count, self._counts
        known.candidates_token_count, known.total_token_count = tokens, total
        if tokens is None or total is None or known != counts:
            return None
        self._part.text = text
        self._delta.upstream_event = number
        self._usage.candidates_token_count = tokens
        self._usage.total_token_count = total
        event = ExecuteResponse()
        event.CopyFrom(self._event)
        return event

    def copy(self) -> ExecuteResponse:
        """Return the event as it is."""
        event = ExecuteResponse()
        event.CopyFrom(self._event)
        return event


def made(
    text: str, number: int, index: int | None, role: str | None, counts: wire.Usage | None
) -> ExecuteResponse:
    """Return an event, each of its parts made anew."""
    event = ExecuteResponse()
    delta = event.delta
    delta.parts.add().text = text
    delta.upstream_event = number
    if index is not None:
        delta.candidate_index = index
    if role is not None:
        delta.role = role
    if counts is not None:
        usage.put(delta.usage, counts)
    return event
