"""Alarms on one timer of a loop."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.alarms import LoopAlarms
from gemini_backend.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A loop's timer, which a test lets ring."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """A loop whose time a test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.timers: list[Timer] = []
        self.errors: list[dict[str, Any]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(self.now + seconds, callback))
        return self.timers[-1]

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def waiting(self) -> list[float]:
        """Return after how many seconds its timers ring."""
        return [round(t.when - self.now, 6) for t in self.timers if not t.cancelled]

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [t for t in self.timers if not t.cancelled and t.when <= end]:
            first = min(due, key=lambda t: t.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.callback()
        self.now = end

    def ring_early(self, seconds: float) -> None:
        """Ring its only timer so many seconds before its time."""
        timer = self.timers.pop()
        self.now = timer.when - seconds
        timer.callback()


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
    return FakeLoop(monkeypatch)


@pytest.fixture
def alarms(loop: FakeLoop) -> LoopAlarms:
    return LoopAlarms(loop)  # type: ignore[arg-type]


def test_they_ring_in_their_order_each_at_its_time(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """Whatever the order in which they were set; those of one moment in that order."""
    rung: list[tuple[str, float]] = []
    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("b2", 2.0)):
        alarms.add(seconds, lambda name=name: rung.append((name, loop.now)))  # type: ignore[misc]
    loop.advance(5)
    assert [("a", 101.0), ("b", 102.0), ("b2", 102.0), ("c", 103.0)] == rung


def test_there_is_one_timer_for_the_earliest(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """A later alarm sets none; an earlier one takes its place; with none left there is none."""
    seen = []
    for seconds in (5.0, 9.0, 2.0):
        alarms.add(seconds, lambda: None)
        seen.append(loop.waiting())
    loop.advance(2)
    seen.append(loop.waiting())
    loop.advance(10)
    assert [[5.0], [5.0], [2.0], [3.0], []] == [*seen, loop.waiting()]


def test_a_cancelled_one_is_dropped_when_it_comes_up(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """It does not ring, and the timer goes on with the first that is still to ring."""
    rung: list[float] = []
    for seconds in (1.0, 2.0):
        alarms.add(seconds, lambda: pytest.fail("was cancelled")).cancel()
    alarms.add(3.0, lambda: rung.append(loop.now))
    loop.advance(1)
    assert ([2.0], 1) == (loop.waiting(), len(alarms))
    loop.advance(5)
    assert [103.0] == rung


def test_cancelled_ones_are_never_many(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """Where they are more than half, the others keep their places and times."""
    rung: list[int] = []
    most = 0
    for number in range(1000):
        alarm = alarms.add(60.0 - number % 7, lambda n=number: rung.append(n))  # type: ignore[misc]
        if number % 100:
            alarm.cancel()
            alarm.cancel()
        most = max(most, len(alarms))
    assert most < 100
    loop.advance(60)
    assert (sorted(range(0, 1000, 100), key=lambda n: (60 - n % 7, n)), 0) == (rung, len(alarms))


def test_a_timer_that_comes_early_is_set_again(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """Nothing rings earlier than the loop's rounding allows."""
    rung: list[float] = []
    alarms.add(1.0, lambda: rung.append(loop.now))
    loop.ring_early(0.001)
    assert ([], [0.001]) == (rung, loop.waiting())
    loop.advance(0.001)
    assert [101.0] == rung


def test_what_rings_may_set_and_cancel_others(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """One that is set at once rings as well, one that is cancelled does not."""
    rung: list[str] = []

    def first() -> None:
        rung.append("first")
        other.cancel()
        alarms.add(0.0, lambda: rung.append("at once"))
        alarms.add(1.0, lambda: rung.append("later"))

    alarms.add(1.0, first)
    other = alarms.add(1.0, lambda: pytest.fail("was cancelled"))
    loop.advance(1)
    assert (["first", "at once"], [1.0]) == (rung, loop.waiting())
    loop.advance(1)
    assert ["first", "at once", "later"] == rung


def test_one_that_fails_stops_no_other(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """Its error goes where the loop's own go."""
    rung: list[str] = []
    failure = ValueError("of the first")

    def fail() -> None:
        raise failure

    alarms.add(1.0, fail)
    alarms.add(1.0, lambda: rung.append("second"))
    loop.advance(1)
    assert (["second"], [failure]) == (rung, [one["exception"] for one in loop.errors])


def test_it_rings_in_the_context_that_set_it(loop: FakeLoop, alarms: LoopAlarms) -> None:
    """What it logs belongs to the call that set it, whichever set the timer."""
    whose: ContextVar[str] = ContextVar("whose", default="nobody's")
    seen: list[str] = []
    alarms.add(1.0, lambda: seen.append(whose.get()))
    token = whose.set("the call's")
    alarms.add(1.0, lambda: seen.append(whose.get()))
    whose.reset(token)
    loop.advance(1)
    assert ["nobody's", "the call's"] == seen


def test_each_loop_has_its_own() -> None:
    """A clock that is used in one loop after another rings in each of them."""
    clock = SystemClock()

    async def rings() -> bool:
        rung = asyncio.Event()
        clock.alarm(0.0, rung.set)
        clock.alarm(60.0, rung.set)
        return await asyncio.wait_for(rung.wait(), 5)

    assert [True, True] == [asyncio.run(rings()) for _ in range(2)]
