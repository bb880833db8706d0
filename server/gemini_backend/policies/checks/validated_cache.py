"""What was found in order before is known again: what is asked over and over is checked once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1.execute_service_pb2 import ExecuteRequest
from gemini_backend.call import Sketch

if TYPE_CHECKING:
    from gemini_backend.call import Call

_MOST, _LARGEST = 4096, 1024
# What a request that is sketched has at most, by the longest that UTF-8 has for a character.
SKETCHED_BYTES = _LARGEST * 4 + 8
# What is written in place of a prompt; without any, it would be another request.
_WORDS = "x"


def sketch_of(call: Call, request: Any) -> Sketch | None:
    """Return the sketch of an execution asked for by a short prompt; None for all else.

    It is made once for each request of a call. Of a prompt that does not begin with a blank the
    rules ask that it is there, and nothing else, so its words are left out. To write a request out
    takes as long as it is large, so one that may be large is not: turns may hold media of many
    megabytes, tools their schemas.
    """
    known = call.outcome.sketch
    if known is not None and known.request is request:
        return known
    made = None if call.large else _sketched(request)
    if made is not None:
        call.outcome.sketch = made
    return made


def _sketched(request: Any) -> Sketch | None:
    if type(request) is not ExecuteRequest or request.contents or request.tools:
        return None
    prompt = request.prompt
    if prompt:
        if len(prompt) > _LARGEST or prompt[0].isspace():
            return None
        request.prompt = _WORDS  # for a moment: a copy takes several times as long
        form = request.SerializeToString()
        request.prompt = prompt
    else:
        form = request.SerializeToString()
    return Sketch(request, form, prompt) if len(form) + len(prompt) <= _LARGEST else None


class Renamed:
    """Remembers the forms that requests have by another model's name.

    Beyond 4,096 of them all are forgotten.
    """

    __slots__ = ("_forms",)

    def __init__(self) -> None:
        """Know none."""
        self._forms: dict[tuple[bytes, str], bytes] = {}

    def sketch(self, call: Call, request: Any, changed: Any, model: str) -> None:
        """Sketch the copy of a request that differs by its model alone, as far as that is known."""
        known = call.outcome.sketch
        if known is None or known.request is not request:
            return
        form = self._forms.get((known.form, model))
        if form is None:
            made = sketch_of(call, changed)
            if made is not None:
                if len(self._forms) >= _MOST:
                    self._forms.clear()
                self._forms[known.form, model] = made.form
        elif len(form) + len(known.prompt) <= _LARGEST:
            call.outcome.sketch = Sketch(changed, form, known.prompt)


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
