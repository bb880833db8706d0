"""Time, as something that is handed in: no module below reads the wall clock by itself."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from gemini_backend.alarms import LoopAlarms

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager


class Alarm(Protocol):
    """Something that will happen unless it is cancelled."""

    def cancel(self) -> None:
        """Let it not happen; does nothing when it has happened already."""
        ...


class Clock(Protocol):
    """Where a policy gets the time from; tests hand in one that they move by hand."""

    def now(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds, or raise CancelledError."""
        ...

    def alarm(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Call `callback` once, after so many seconds, unless the alarm is cancelled before."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a scope that raises TimeoutError after so many seconds; None means never.

        The scope belongs to the task that enters it: it must not span a `yield`.
        """
        ...


class SystemClock:
    """The machine's monotonic clock; its alarms share one timer of the loop they are set in."""

    now = staticmethod(time.monotonic)  # without a step of its own: it is asked at every event

    def __init__(self) -> None:
        """Have no alarms yet."""
        self._alarms: LoopAlarms | None = None

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running loop."""
        await asyncio.sleep(seconds)

    def alarm(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        """Set it among those of the running loop; those of a loop before it stay there."""
        loop = asyncio.get_running_loop()
        alarms = self._alarms
        if alarms is None or alarms.loop is not loop:
            alarms = self._alarms = LoopAlarms(loop)
        return alarms.add(seconds, callback)

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return `asyncio.timeout(seconds)`."""
        return asyncio.timeout(seconds)
