"""Kept answers as they are given: put together once, priced once a day, then only copied."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.whole_answer import response_of
from gemini_backend.sizes import KIB, MIB

if TYPE_CHECKING:
    from google.protobuf.message import Message

# So many bytes of answers that are asked for again and again are kept ready, that unused for
# longest goes; larger ones are made ready each time.
_MOST_BYTES, _LARGEST = 8 * MIB, 64 * KIB
# What one costs beside its bytes.
_OVERHEAD = 1 * KIB


class Ready:
    """One kept answer, and what follows from it alone.

    Attributes:
        version: The version that had made it.
        usage: What it saves.
        costs: What it is said to cost, as whoever prices it keeps that.
    """

    __slots__ = ("_events", "_whole", "costs", "usage", "version")

    def __init__(self, events: tuple[bytes, ...]) -> None:
        """Read what the last event tells."""
        done = pb.ExecuteResponse.FromString(events[-1]).completed
        self.version = done.model_version
        self.usage = content.Usage()
        self.usage.CopyFrom(done.usage)
        self.costs: dict[type[Message], tuple[object, bool, content.Cost]] = {}
        self._events = events
        self._whole: bytes | None = None

    def whole(self) -> pb.ProcessResponse:
        """Return it as one answer, which is the caller's own."""
        if self._whole is None:
            response = response_of(self._events)
            self._whole = response.SerializeToString()
            return response
        return pb.ProcessResponse.FromString(self._whole)


class ReadyAnswers:
    """Those that are asked for again and again, within bounds."""

    def __init__(self) -> None:
        """Begin with none."""
        self._ready: OrderedDict[tuple[bytes, ...], Ready] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._ready)

    def of(self, events: tuple[bytes, ...]) -> Ready:
        """Return the answer that has these events."""
        ready = self._ready.get(events)
        if ready is not None:
            self._ready.move_to_end(events)
            return ready
        ready = Ready(events)
        size = _size(events)
        if size <= _OVERHEAD + 2 * _LARGEST:
            self._ready[events] = ready
            self._bytes += size
            while self._bytes > _MOST_BYTES:
                self._bytes -= _size(self._ready.popitem(last=False)[0])
        return ready


def _size(events: tuple[bytes, ...]) -> int:
    """Return what one holds on to: the events, and about as much again as a whole."""
    return _OVERHEAD + 2 * sum(map(len, events))
