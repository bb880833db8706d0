"""Long work in slices."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.errors import DeadlinePassed
from gemini_backend.processing.slices import Slices
from tests.support.clock import FakeClock
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call


class Ticking(FakeClock):
    """A millisecond passes between any two looks at it."""

    def now(self) -> float:
        self._now += 0.001
        return self._now


async def work(call: Call, clock: FakeClock, name: str, steps: int, done: list[str]) -> None:
    """Do so many steps, each noted by name."""
    async with Slices(call, clock) as slices:
        for _ in range(steps):
            done.append(name)
            await slices.pause()


async def test_others_run_between_two_slices() -> None:
    """Work of any length leaves the loop after a few milliseconds each time."""
    clock, done = Ticking(), list[str]()
    task = asyncio.create_task(work(make_call(clock), clock, "long", 100, done))
    turns = 0
    while not task.done():
        before = len(done)
        await asyncio.sleep(0)
        turns += 1
        assert len(done) - before <= 5
    assert 20 <= turns <= 60
    assert ["long"] * 100 == done


async def test_short_work_is_not_interrupted() -> None:
    """A pause that is not due costs no turn of the loop."""
    clock, done = FakeClock(), list[str]()
    task = asyncio.create_task(work(make_call(clock), clock, "short", 1000, done))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert task.done()
    assert 1000 == len(done)


async def test_only_one_works_at_a_time_in_turn() -> None:
    """However many do long work, a turn of the loop has one slice of one of them."""
    clock, done = Ticking(), list[str]()
    names = "abcd"
    tasks = [asyncio.create_task(work(make_call(clock), clock, name, 20, done)) for name in names]
    while not all(task.done() for task in tasks):
        before = len(done)
        await asyncio.sleep(0)
        assert 1 >= len(set(done[before:]))
    order = [name for place, name in enumerate(done) if not place or done[place - 1] != name]
    assert list(names) == order[:4]
    assert 12 < len(order)


async def test_a_deadline_ends_the_work() -> None:
    """A call that has no time left does not go on, and lets the next one work."""
    clock, done = Ticking(), list[str]()
    with pytest.raises(DeadlinePassed, match="deadline"):
        await work(make_call(clock, deadline=0.02), clock, "late", 1000, done)
    assert 30 > len(done)
    await work(make_call(clock), clock, "next", 1, done)
    assert "next" == done[-1]


async def test_no_work_begins_after_the_deadline() -> None:
    """Whoever waited for its turn for too long does nothing at all."""
    clock = FakeClock()
    call = make_call(clock, deadline=0.0)
    with pytest.raises(DeadlinePassed):
        async with Slices(call, clock):
            pytest.fail("it began")
    async with Slices(make_call(clock), clock):
        pass


@pytest.mark.parametrize("victim", [0, 1, 2])
async def test_who_is_cancelled_leaves_the_line(victim: int) -> None:
    """Be it at work or waiting, those behind it come to their turns."""
    clock, done = Ticking(), list[str]()
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(work(make_call(clock), clock, name, 50, done)) for name in "abc"
    ]
    for _ in range(3):
        await asyncio.sleep(0)
    tasks[victim].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    left = "abc".replace("abc"[victim], "")
    assert [50, 50] == [done.count(name) for name in left]
    assert 50 > done.count("abc"[victim])
