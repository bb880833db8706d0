"""New work begins only as fast as the event loop keeps up with what runs.

How many streams one process can pace depends on how much they say, which nobody knows before. A
fixed number is too low for models that think for long, and too high for many that talk fast: then
all of them are late. So the loop itself is asked: it is late when more is to be done than can be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock

# Time between two looks.
EVERY_SECONDS = 0.05
# From this share of the limit on, new work begins slowly: a twentieth of what runs at each look.
_CAREFUL_SHARE, _STEP = 0.5, 20


class LoopDelay:
    """Looks how late the loop is as long as that matters, and says how much more may begin.

    Up to half of the limit anything may begin; from there on a twentieth of what runs at each
    look; beyond the limit nothing, until the loop has caught up.
    """

    def __init__(
        self,
        clock: Clock,
        limit: Callable[[], float],
        running: Callable[[], int],
        looked: Callable[[], None],
    ) -> None:
        """Look at nothing yet.

        Args:
            clock: Times the loop.
            limit: Gives the delay in seconds beyond which nothing begins; 0 for no limit.
            running: Gives how many run; 0 where so few do that looking ends.
            looked: Called after each look, to begin what waits.
        """
        self._clock = clock
        self._limit = limit
        self._running = running
        self._looked = looked
        self.looks = False  # whether it is being looked at
        self._due = 0.0
        self._grant: int | None = None
        self.seconds = 0.0  # how late the loop was at the latest look; 0 where it is not looked at

    def has_room(self) -> bool:
        """Say whether more may begin now."""
        return self._grant is None or self._grant > 0

    def begin(self) -> None:
        """Take note that something begins."""
        if self._grant is not None:
            self._grant -= 1
        if not self.looks and self._limit() > 0:
            self.looks = True
            self._set()

    def _set(self) -> None:
        self._due = self._clock.now() + EVERY_SECONDS
        self._clock.alarm(EVERY_SECONDS, self._look)

    def _look(self) -> None:
        limit = self._limit()
        self.seconds = max(0.0, self._clock.now() - self._due)
        if limit <= 0 or self.seconds <= limit * _CAREFUL_SHARE:
            self._grant = None
        elif self.seconds <= limit:
            self._grant = max(1, self._running() // _STEP)
        else:
            self._grant = 0
        self._looked()
        if self._running() and limit > 0:
            self._set()
        else:
            self.looks, self._grant, self.seconds = False, None, 0.0
