"""What was found in order before is known again: what is asked over and over is checked once."""

from __future__ import annotations

from typing import Any

from gemini.backend.v1.execute_service_pb2 import ExecuteRequest

_MOST, _LARGEST = 4096, 1024


def small_prompt(request: Any) -> bytes | None:
    """Return the bytes of an execution that is asked for by a short prompt; None for all else.

    To write a request out takes as long as it is large, so one that may be large is not: turns may
    hold media of many megabytes, tools their schemas.
    """
    if type(request) is not ExecuteRequest or request.contents or request.tools:
        return None
    if len(request.prompt) > _LARGEST:
        return None
    data = request.SerializeToString()
    return data if len(data) <= _LARGEST else None


def without_words(request: Any) -> bytes | None:
    """Return the bytes of a small request with another prompt in place of its own.

    None where the prompt is empty or may be blank, which the rules ask; they ask nothing else of
    it.
    """
    if not request.prompt or request.prompt[0].isspace():
        return None
    form = ExecuteRequest()
    form.CopyFrom(request)
    form.prompt = "x"
    return form.SerializeToString()


class ValidatedCache:
    """Remembers requests by their bytes, and by what they were held against.

    Only bytes of at most 1 KiB; beyond 4,096 of them all are forgotten.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[bytes, object] = {}

    def knows(self, data: bytes | None, by: object) -> bool:
        """Say whether a request was found in order by this very object."""
        return data is not None and self._known.get(data) is by

    def learn(self, data: bytes | None, by: object) -> None:
        """Remember that it was; None and what is larger are not remembered."""
        if data is None or len(data) > _LARGEST:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[data] = by
