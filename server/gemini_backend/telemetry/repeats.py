"""Lines of what may happen often: one when it begins, then one in 10 s at most."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemini_backend.clock import Clock

REPEAT_SECONDS = 10.0


class Repeats:
    """Counts what may happen often, between the lines that tell of it."""

    def __init__(self, clock: Clock) -> None:
        """Have counted nothing."""
        self._clock = clock
        self._count = 0
        self._told = float("-inf")

    def due(self, count: int = 1) -> int:
        """Count so many more; return how many to tell of, 0 while it is too early for a line."""
        self._count += count
        now = self._clock.now()
        if now - self._told < REPEAT_SECONDS:
            return 0
        told, self._count, self._told = self._count, 0, now
        return told
