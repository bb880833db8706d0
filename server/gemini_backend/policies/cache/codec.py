"""An answer as it is kept: as few events as lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.as_events import completed_of, deltas_of, started_of
from gemini_backend.processing.answers.delta_merge import joined
from gemini_backend.processing.answers.endings import end_was_seen, is_finish

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STOP = content.FINISH_REASON_STOP
_HIT = pb.CACHE_STATUS_HIT


class Recording:
    """Takes the events of one answer, and says at its end whether it is worth keeping.

    It is not when it was cut, blocked or truncated, when its end was not seen, when another model
    than the one asked for gave it, or when it is larger than `max_bytes`; what is known before the
    end makes that nothing of it is held any longer. Of the finish reasons of a candidate the last
    one counts: pieces may follow the others.
    """

    __slots__ = ("_bytes", "_deltas", "_good", "_max_bytes", "_started")

    def __init__(self, max_bytes: int) -> None:
        """Record one answer of at most so many bytes."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._good = True
        self._started: bytes | None = None
        self._deltas: list[bytes] = []

    def take(self, event: pb.ExecuteResponse) -> tuple[bytes, ...] | None:
        """Take the next event as it is now; return the whole once it is there, and good."""
        if event.HasField("delta"):
            self.add(event.delta)
        elif not self._good:
            return None
        elif event.HasField("started"):
            if event.started.served_model not in {"", event.started.model}:
                self._give_up()
            self._started = event.started.SerializeToString()
        elif event.HasField("completed"):
            return self._whole(event.completed)
        return None

    def add(self, delta: pb.Delta) -> None:
        """Take a delta as it is now."""
        if self._good:
            data = delta.SerializeToString()
            self._bytes += len(data)
            if self._bytes > self._max_bytes:
                self._give_up()
            else:
                self._deltas.append(data)

    def _whole(self, completed: pb.Completed) -> tuple[bytes, ...] | None:
        if completed.finish_reason != _STOP or completed.finish_reason_raw:
            return None
        if not end_was_seen(completed) or self._started is None or not self._deltas:
            return None
        deltas = [pb.Delta.FromString(data) for data in self._deltas]
        if not _all_stopped(deltas):
            return None
        events = stored_events(pb.Started.FromString(self._started), joined(deltas), completed)
        return events if sum(map(len, events)) <= self._max_bytes else None

    def _give_up(self) -> None:
        self._good = False
        self._deltas.clear()


def _all_stopped(deltas: Iterable[pb.Delta]) -> bool:
    """Say whether every candidate that has finished did so by itself, by the last it says."""
    ends: dict[int, bool] = {}
    for delta in deltas:
        if is_finish(delta):
            well = delta.finish_reason == _STOP and not delta.finish_reason_raw
            ends[delta.candidate_index] = well
    return all(ends.values())


def stored_events(
    started: pb.Started, deltas: Sequence[pb.Delta], completed: pb.Completed
) -> tuple[bytes, ...]:
    """Return the events of a hit, without what belonged to the execution that made them."""
    first, last = pb.ExecuteResponse(), pb.ExecuteResponse()
    first.started.CopyFrom(started)
    first.started.cache_status = _HIT
    last.completed.CopyFrom(completed)
    for field in ("cost", "timing", "attempts"):
        last.completed.ClearField(field)
    middle = (pb.ExecuteResponse(delta=delta) for delta in deltas)
    return tuple(event.SerializeToString() for event in (first, *middle, last))


def events_of(response: pb.ProcessResponse) -> tuple[bytes, ...] | None:
    """Return a whole answer as the events that are kept; None where it is not worth keeping."""
    started = response.started
    good = response.candidates and started.served_model in {"", started.model}
    for candidate in response.candidates:
        good = good and candidate.finish_reason == _STOP and not candidate.finish_reason_raw
    if not good:
        return None
    return stored_events(started_of(response), deltas_of(response), completed_of(response))
