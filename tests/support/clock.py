"""A clock that only moves when a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class FakeAlarm:
    """Rings once, unless it is cancelled before."""

    def __init__(self, callback: Callable[[], None]) -> None:
        """Stand by."""
        self._callback: Callable[[], None] | None = callback

    def ring(self) -> None:
        """Call back, if nobody has cancelled."""
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        """Never ring."""
        self._callback = None


class FakeClock:
    """Sleeps and timeouts wait on a heap until `advance` reaches them."""

    def __init__(self, start: float = 1000.0) -> None:
        """Begin at `start` seconds."""
        self._now = start
        self._waits: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        """Return the time as the test has set it."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until the test has moved the clock so far."""
        woken = asyncio.get_running_loop().create_future()
        self._at(self._now + seconds, lambda: woken.done() or woken.set_result(None))
        await woken

    def alarm(self, seconds: float, callback: Callable[[], None]) -> FakeAlarm:
        """Call back once the test has moved the clock so far."""
        alarm = FakeAlarm(callback)
        self._at(self._now + seconds, alarm.ring)
        return alarm

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncIterator[None]:
        """Raise TimeoutError in the body once the test has moved the clock so far."""
        task = asyncio.current_task()
        assert task is not None
        state = {"open": True, "fired": False}

        def fire() -> None:
            if state["open"]:
                state["fired"] = True
                task.cancel()

        if seconds is not None:
            self._at(self._now + seconds, fire)
        try:
            yield
        except asyncio.CancelledError:
            if state["fired"] and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            state["open"] = False

    async def advance(self, seconds: float) -> None:
        """Move the clock, waking whoever waits, in order, and let them run."""
        await settle()
        end = self._now + seconds
        while self._waits and self._waits[0][0] <= end:
            self._now, _, wake = heapq.heappop(self._waits)
            wake()
            await settle()
        self._now = end
        await settle()

    def stall(self, seconds: float) -> None:
        """Move the clock as a busy loop does: what is due meanwhile happens late, at once."""
        self._now += seconds
        due = []
        while self._waits and self._waits[0][0] <= self._now:
            due.append(heapq.heappop(self._waits)[2])
        for wake in due:
            wake()

    def _at(self, when: float, wake: Callable[[], None]) -> None:
        heapq.heappush(self._waits, (when, next(self._order), wake))


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(50):
        await asyncio.sleep(0)
