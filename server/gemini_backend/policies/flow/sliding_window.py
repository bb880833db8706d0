"""Counts over the recent past, in constant memory: the last stretch of time in ten slots."""

from __future__ import annotations

_SLOTS = 10


class SlidingCounts:
    """Two counts, hits and misses, over a window that slides by tenths of its length.

    What is older than the window is forgotten; what is younger than nine tenths of it is always
    counted.
    """

    __slots__ = ("_ends", "_newest", "_slot", "_slots", "_width", "hits", "misses", "seconds")

    def __init__(self, seconds: float) -> None:
        """Count over so many seconds."""
        self.seconds = seconds
        self._width = seconds / _SLOTS
        self._slots = [[0, 0] for _ in range(_SLOTS)]
        self._newest = 0  # the number of the slot that is counted into
        self._slot = self._slots[0]
        self._ends = self._width  # when the next one begins
        self.hits = 0
        self.misses = 0

    @property
    def total(self) -> int:
        """Both counts together, as of the last `slide`."""
        return self.hits + self.misses

    def hit(self, now: float) -> int:
        """Count one of the first kind; return the slot, for `retract`."""
        if now >= self._ends:
            self.slide(now)
        self._slot[0] += 1
        self.hits += 1
        return self._newest

    def hit_now(self) -> int:
        """Count one of the first kind as of the last `slide`; return the slot, for `retract`."""
        self._slot[0] += 1
        self.hits += 1
        return self._newest

    def retract(self, slot: int) -> None:
        """Take back a hit, unless it has left the window already."""
        if slot > self._newest - _SLOTS:
            self._slots[slot % _SLOTS][0] -= 1
            self.hits -= 1

    def miss(self, now: float) -> None:
        """Count one of the second kind."""
        self.slide(now)
        self._slot[1] += 1
        self.misses += 1

    def slide(self, now: float) -> None:
        """Forget what is no longer within the window."""
        if now < self._ends:
            return
        number = int(now / self._width)
        if number <= self._newest:
            return
        for gone in range(min(number - self._newest, _SLOTS)):
            slot = self._slots[(number - gone) % _SLOTS]
            self.hits -= slot[0]
            self.misses -= slot[1]
            slot[0] = slot[1] = 0
        self._newest, self._slot = number, self._slots[number % _SLOTS]
        self._ends = (number + 1) * self._width
