"""Alarms that share one timer of their event loop.

A call sets an alarm, and nearly always cancels it. A timer of the loop costs more than all else
that a call does with its times; here an alarm is a place in a heap. A cancelled one is only marked:
it is dropped when its time comes, or when more than half of them are marked.
"""

from __future__ import annotations

import time
from contextvars import copy_context
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from contextvars import Context

# A loop's timer may come so many seconds early, by the rounding to its milliseconds.
_EARLY_SECONDS = 0.0005
# So many marked ones may lie in the heap whatever their share.
_FEW = 64


class SharedAlarm(Struct, eq=False):
    """Rings once, in the context that set it, unless it is cancelled before.

    Attributes:
        alarms: Those among which it is.
        callback: What is to be called; None once it has been, or is not to be.
        context: In which.
    """

    alarms: LoopAlarms
    callback: Callable[[], None] | None
    context: Context | None

    def ring(self) -> None:
        """Call back; does nothing where it is cancelled."""
        callback, context = self.callback, self.context
        self.callback = self.context = None
        if callback is not None and context is not None:
            context.run(callback)

    def cancel(self) -> None:
        """Let it not happen; does nothing when it has happened already."""
        if self.callback is not None:
            self.callback = self.context = None
            alarms = self.alarms
            alarms.marked += 1
            if alarms.marked > _FEW:
                alarms.drop_marked()


class LoopAlarms:
    """The alarms of one event loop, precise to the loop's own resolution.

    Attributes:
        loop: The event loop.
        marked: How many of them are cancelled and have not been dropped.
    """

    __slots__ = ("_heap", "_number", "_set_for", "_timer", "loop", "marked")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have none yet; `loop` is the one that runs."""
        self.loop = loop
        self._heap: list[tuple[float, int, SharedAlarm]] = []
        self._number = 0  # keeps those of one moment in the order in which they were set
        self.marked = 0
        self._timer: asyncio.TimerHandle | None = None
        self._set_for = float("inf")

    def __len__(self) -> int:
        """Return how many places are taken, by cancelled ones as well."""
        return len(self._heap)

    def add(self, seconds: float, callback: Callable[[], None]) -> SharedAlarm:
        """Return an alarm that calls back after so many seconds."""
        now = time.monotonic()
        when = now + seconds
        alarm = SharedAlarm(self, callback, copy_context())
        self._number = number = self._number + 1
        heappush(self._heap, (when, number, alarm))
        if when < self._set_for:
            self._set(when, now)
        return alarm

    def drop_marked(self) -> None:
        """Drop the cancelled ones where they are more than half."""
        if self.marked * 2 > len(self._heap):
            # in place: this may come out of an alarm that rings
            self._heap[:] = [entry for entry in self._heap if entry[2].callback is not None]
            heapify(self._heap)
            self.marked = 0

    def _set(self, when: float, now: float) -> None:
        """Let the loop's timer ring for an alarm that comes before all others."""
        if self._timer is not None:
            self._timer.cancel()
        self._set_for = when
        self._timer = self.loop.call_later(max(0.0, when - now), self._ring)

    def _ring(self) -> None:
        """Ring all that are due; an error of one is the loop's to tell, and stops no other."""
        heap = self._heap
        due = time.monotonic() + _EARLY_SECONDS
        self._timer = None
        self._set_for = -float("inf")  # whoever sets one meanwhile need not set the timer
        while heap and (heap[0][0] <= due or heap[0][2].callback is None):
            alarm = heappop(heap)[2]
            if alarm.callback is None:
                self.marked -= 1
                continue
            try:
                alarm.ring()
            except Exception as error:  # noqa: BLE001 - told to whoever hears of the loop's errors
                told = {"message": "an alarm has failed", "exception": error}
                self.loop.call_exception_handler(told)
        self._set_for = float("inf")
        if heap:
            self._set(heap[0][0], time.monotonic())
