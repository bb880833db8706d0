"""The recent past in slots of a few seconds, and percentiles over them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

from fastdigest import TDigest, merge_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SLOT_SECONDS = 5.0
MAX_WINDOW_SECONDS = 300.0
# One more than the longest window has, because the slot in use is only partly filled.
_SLOTS = int(MAX_WINDOW_SECONDS / SLOT_SECONDS) + 1
_CENTROIDS = 64

T = TypeVar("T")


class Ring(Generic[T]):
    """The last five minutes, a `T` for every five seconds in which something happened.

    Bounded: a slot that comes round again is made anew, and what it held is forgotten.
    """

    __slots__ = ("_make", "_numbers", "_slots")

    def __init__(self, make: Callable[[], T]) -> None:
        """Fill slots with what `make` returns, on first use."""
        self._make = make
        self._numbers = [-1] * _SLOTS
        self._slots: list[T | None] = [None] * _SLOTS

    def at(self, now: float) -> T:
        """Return the slot for this moment, seconds on the clock that all calls use."""
        number = int(now / SLOT_SECONDS)
        index = number % _SLOTS
        slot = self._slots[index]
        if slot is None or self._numbers[index] != number:
            self._numbers[index] = number
            slot = self._slots[index] = self._make()
        return slot

    def recent(self, now: float, seconds: float) -> list[T]:
        """Return the slots of at least so many seconds up to `now`, oldest first."""
        last = int(now / SLOT_SECONDS)
        return self._numbered(last - slots_of(seconds), last)

    def begun_after(self, now: float, moment: float) -> list[T]:
        """Return the slots that have begun after a moment, oldest first."""
        return self._numbered(int(moment / SLOT_SECONDS) + 1, int(now / SLOT_SECONDS))

    def _numbered(self, first: int, last: int) -> list[T]:
        found = (number % _SLOTS for number in range(max(first, last - _SLOTS + 1), last + 1))
        return [
            slot
            for index in found
            if (slot := self._slots[index]) is not None and first <= self._numbers[index] <= last
        ]


def slots_of(seconds: float) -> int:
    """Return how many whole slots a window has, at least 1 and at most what a ring holds."""
    return min(max(1, math.ceil(seconds / SLOT_SECONDS)), _SLOTS - 1)


def covered_seconds(now: float, seconds: float, since: float) -> float:
    """Return how long a time `recent(now, seconds)` covers, for one who began at `since`."""
    begin = (int(now / SLOT_SECONDS) - slots_of(seconds)) * SLOT_SECONDS
    return now - max(begin, since)


def new_digest() -> TDigest:
    """Return an empty digest; a value costs 0.1 µs, a digest at most about 2 KiB."""
    return TDigest(max_centroids=_CENTROIDS)


def merged(digests: Iterable[TDigest]) -> TDigest | None:
    """Return all values in one digest, None where there are none."""
    filled = [digest for digest in digests if not digest.is_empty()]
    return merge_all(filled) if filled else None
