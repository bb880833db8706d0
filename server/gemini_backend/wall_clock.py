"""The time of day, guarded: a clock that jumps and comes back has never jumped.

What is kept for a time is deleted by the time of day, and that comes from outside: a wrong answer
of a time server, or a machine that starts with its clock in another year, would delete everything
at once. So it is held against a clock that never jumps.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Less is a clock that is being set right.
TOLERANCE_SECONDS = 30.0
# For so long a clock has to agree with the steady one to be trusted, before or after a jump.
CONFIRM_SECONDS = 600.0

_log = logging.getLogger(__name__)


_BOOT = getattr(time, "CLOCK_BOOTTIME", None)
# Gives seconds of a clock that never jumps and goes on while the machine sleeps.
seconds_since_boot = time.monotonic if _BOOT is None else partial(time.clock_gettime, _BOOT)


class WallClock:
    """Seconds since the epoch, of a clock that is followed while it agrees with a steady one.

    One that was trusted and jumps is not followed until it has gone on from there for
    `CONFIRM_SECONDS`: meanwhile the time is what it would be without the jump. Before it is
    trusted, each jump is followed, and counts the time of trust anew.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = seconds_since_boot,
    ) -> None:
        """Begin with the time that `wall` gives now."""
        self._wall = wall
        self._steady = steady
        self._real, self._at = wall(), steady()
        self._since = self._at
        self._doubt: tuple[float, float] | None = None
        self.jumped = False

    def __call__(self) -> float:
        """Return the time, in seconds since the epoch."""
        real, at = self._wall(), self._steady()
        expected = self._real + (at - self._at)
        if -TOLERANCE_SECONDS <= real - expected <= TOLERANCE_SECONDS:
            if self._doubt is not None:
                self._doubt = None
                _log.warning("clock_came_back")
            self._real, self._at = real, at
            return real
        self.jumped = True
        if at - self._since < CONFIRM_SECONDS:
            self._follow(real, at, real - expected)
            return real
        return self._doubted(real, at, expected)

    def trusted(self) -> bool:
        """Return whether it has agreed with the steady clock for `CONFIRM_SECONDS`."""
        self()
        return self._doubt is None and self._at - self._since >= CONFIRM_SECONDS

    def _follow(self, real: float, at: float, jump: float) -> None:
        _log.warning("clock_jumped", extra={"seconds": round(jump, 3), "followed": True})
        self._real, self._at = real, at
        self._since, self._doubt = at, None

    def _doubted(self, real: float, at: float, expected: float) -> float:
        """Return the time without the jump, until what came after it is trusted."""
        if self._doubt is not None:
            before, since = self._doubt
            if abs((real - before) - (at - since)) <= TOLERANCE_SECONDS:
                if at - since < CONFIRM_SECONDS:
                    return expected
                self._follow(real, at, real - expected)
                self._since = since
                return real
        self._doubt = (real, at)
        facts = {"seconds": round(real - expected, 3), "followed": False}
        _log.error("clock_jumped", extra=facts)
        return expected
