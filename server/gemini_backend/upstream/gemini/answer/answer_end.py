"""Whether an answer has come to its end, which only the end of its body can tell for certain.

A finish reason is no end: Gemini puts STOP on the piece whose code it is about to run, and goes on;
some servers put it on every piece, or on an empty first one. So a stream is read to the end of its
body, and then a candidate has ended when nothing of it has come after its last finish reason.

A body that breaks off, or falls silent, does not say whether anything was missing. Its answer is
taken as whole only when all signs say so: the break lies between two events; each candidate has
ended; it has said so once, which leaves out servers that say it all the time; the last thing said
is no step of a tool on the server's side, which is followed by what the model makes of it; and
the count of tokens that closes an answer came with the finish reason, or after it. Even then it is
not certain: usage is an estimate, and the caller is warned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.processing.answers.endings import NOT_A_FINISH
from gemini_backend.upstream.gemini.answer.untyped_answer import too_many_candidates
from gemini_backend.upstream.gemini.translation import wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.upstream.gemini.translation import Fields

_STEPS = ("executable_code", "code_execution_result", "tool_call", "tool_response")
_RAW_LIMIT = 256
_TEXT: list[Fields] = []  # what matters of the parts of a piece of text: they are no steps


class _Candidate:
    """How far one candidate has come."""

    __slots__ = ("ended", "finish", "finishes", "parts")

    def __init__(self) -> None:
        self.ended = False
        self.finish: Fields | None = None  # the delta that had the latest finish reason
        self.finishes = 0  # those that do not stand on a step of a tool
        self.parts: list[Fields] = []  # the latest that say anything

    def is_at_step(self) -> bool:
        if not self.parts:
            return False
        last = self.parts[-1]
        return any(last.get(name) is not None for name in _STEPS)


class Ends:
    """Watches the candidates of one answer."""

    __slots__ = ("_by_index", "_counted", "_event", "_finished_at")

    def __init__(self) -> None:
        """Watch one answer."""
        self._by_index: dict[int, _Candidate] = {}
        self._event = 0
        self._finished_at = 0  # the event that brought the latest finish reason
        self._counted = 0  # the latest event that brought a count of tokens

    def begin_event(self, number: int, usage: Fields | None) -> None:
        """Take note of an event, and of the tokens that it counts."""
        self._event = number
        if usage and (usage.get("total_token_count") or usage.get("candidates_token_count")):
            self._counted = number

    def saw(self, delta: Fields, *, says: bool) -> None:
        """Take a piece, which says something or not.

        Raises:
            MalformedAnswer: it is of one candidate too many.
        """
        one = self._candidate(delta.get("candidate_index") or 0)
        if says:
            one.parts = delta["parts"]
            one.ended = False
        if _is_finish(delta):
            self._finish(one, delta)

    def saw_text(
        self, number: int, index: int, counts: wire.Usage | None, finish: Fields | None
    ) -> None:
        """Take an event that is a piece of text: what it counts, and its finish reason, if any.

        Raises:
            MalformedAnswer: it is of one candidate too many.
        """
        self._event = number
        if counts is not None and (counts.total_token_count or counts.candidates_token_count):
            self._counted = number
        one = self._by_index.get(index) or self._candidate(index)
        one.parts = _TEXT
        one.ended = False
        if finish is not None and _is_finish(finish):
            self._finish(one, finish)

    def _candidate(self, index: int) -> _Candidate:
        one = self._by_index.get(index)
        if one is None:
            if len(self._by_index) >= wire.MOST_CANDIDATES:
                raise too_many_candidates()
            one = self._by_index[index] = _Candidate()
        return one

    def _finish(self, one: _Candidate, delta: Fields) -> None:
        one.finish = delta
        one.ended = True
        one.finishes += not one.is_at_step()
        self._finished_at = self._event

    def began(self) -> bool:
        """Tell whether there was any candidate at all."""
        return bool(self._by_index)

    def all_ended(self) -> bool:
        """Tell whether every candidate that began has ended, if nothing else comes."""
        for one in self._by_index.values():
            if not one.ended:
                return False
        return bool(self._by_index)

    def look_whole(self) -> bool:
        """Tell whether the answer may be taken as whole though its body has not ended."""
        if not self._finished_at or self._counted < self._finished_at or not self.all_ended():
            return False  # nothing has ended yet, or something goes on, or is not counted
        return all(one.finishes == 1 and not one.is_at_step() for one in self._by_index.values())

    def finishes(self) -> list[Fields]:
        """Return the latest pieces with a finish reason, one for each candidate that has any."""
        return [one.finish for one in self._by_index.values() if one.finish is not None]

    def first(self) -> int:
        """Return the number of the first candidate."""
        return min(self._by_index)

    def reason(self) -> Fields:
        """Return the latest finish reason of the first candidate, as fields of `Completed`."""
        first = self._by_index[self.first()].finish or {}
        return {
            "finish_reason": first.get("finish_reason"),
            "finish_reason_raw": raw_reason(first) or None,
        }


def raw_reason(finish: Mapping[str, Any]) -> str:
    """Return a finish reason that the contract has no value for, as Gemini wrote it."""
    raw: str = finish.get("finish_reason_raw") or ""
    strange = (finish.get("extra") or {}).get("finishReason")
    if strange and not raw:
        raw = msgspec.json.encode(strange).decode()[:_RAW_LIMIT]
    return raw


def _is_finish(delta: Fields) -> bool:
    if delta.get("finish_reason"):
        return True
    raw = delta.get("finish_reason_raw")
    if raw:
        return bool(raw != NOT_A_FINISH)
    extra = delta.get("extra")
    return extra is not None and bool(extra.get("finishReason"))
