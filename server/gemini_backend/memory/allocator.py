"""Free memory goes back to the system: glibc by itself keeps what lies between blocks in use."""

from __future__ import annotations

import asyncio
import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.memory.budget import MemoryBudget

TICK_SECONDS: Final = 1.0
QUIET_TICKS: Final = 30
MUCH: Final = 16 * MIB
_PROC = Path("/proc/self/statm")


class GivingBack:
    """Trims the heap a second after much was freed, and from time to time while it is large.

    A trim with nothing to give takes less than a millisecond, one that gives 200 MB about 30, in a
    thread of its own. Where the C library cannot do it, nothing happens.
    """

    def __init__(
        self,
        budget: MemoryBudget,
        clock: Clock,
        trim: Callable[[], None] | None = None,
        resident: Callable[[], int] | None = None,
    ) -> None:
        """Follow what `budget` frees.

        Args:
            budget: Says how much was freed.
            clock: Where the time is spent.
            trim: Gives back what is free. Default: glibc's, where there is one.
            resident: Returns the resident bytes of the process.
        """
        self._budget = budget
        self._clock = clock
        self._trim = trim or _malloc_trim()
        self._resident = resident or _resident_bytes
        self.trims = 0

    async def run(self) -> None:
        """Look once a second, until cancelled."""
        trim = self._trim
        if trim is None:
            return
        freed, ticks, idle = self._budget.freed, 0, self._resident()
        while True:
            await self._clock.sleep(TICK_SECONDS)
            ticks += 1
            much = self._budget.freed - freed >= MUCH
            if much or (ticks >= QUIET_TICKS and self._resident() >= idle + MUCH):
                freed, ticks = self._budget.freed, 0
                await asyncio.to_thread(trim)
                self.trims += 1


def _malloc_trim() -> Callable[[], None] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, or another system
        return None

    def give_back() -> None:
        trim(0)  # while it runs, others hold the interpreter

    return give_back


def _resident_bytes() -> int:
    try:
        return int(_PROC.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
