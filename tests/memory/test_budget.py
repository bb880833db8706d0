"""One budget for the bytes in flight: who waits, who goes on, who is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import Overloaded
from gemini_backend.memory import Hold, MemoryBudget, Purpose
from gemini_backend.sizes import MIB
from tests.support.clock import settle

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

LIMIT = 64 * MIB


@pytest.fixture
def budget(clock: FakeClock) -> MemoryBudget:
    """Return a budget of 64 MiB."""
    return MemoryBudget(lambda: LIMIT, clock)


def arrived(budget: MemoryBudget, owner: str, mib: int) -> Hold:
    """Return what is held for a request that has just been received."""
    hold = budget.hold(Purpose.REQUESTS, owner)
    hold.resize(mib * MIB)
    return hold


async def growing(hold: Hold, mib: int, seconds: float | None = None) -> asyncio.Task[None]:
    """Return a task that wants more, after it has tried."""
    task = asyncio.create_task(hold.grow(mib * MIB, seconds))
    await settle()
    return task


async def test_changes_are_counted_by_purpose(budget: MemoryBudget) -> None:
    """What is there is counted at once, whatever the limit says."""
    budget.account(Purpose.JOURNAL).change(100 * MIB)
    hold = arrived(budget, "a", 3)
    used = {"requests": 3 * MIB, "bodies": 0, "answers": 0, "journal": 100 * MIB}
    assert (used, 103 * MIB) == (budget.state().used, budget.used)
    hold.release()
    hold.release()
    budget.account(Purpose.JOURNAL).change(-100 * MIB)
    assert 0 == budget.used


async def test_work_waits_for_room(budget: MemoryBudget) -> None:
    """What does not fit waits; it goes on when others have given back enough."""
    first, second = arrived(budget, "a", 4), arrived(budget, "b", 4)
    assert (await growing(first, 30)).done()
    waiting = await growing(second, 30)
    assert (False, 1) == (waiting.done(), budget.state().waiting)
    first.rest(4 * MIB)
    await settle()
    assert (True, 34 * MIB, 0) == (waiting.done(), second.size, budget.state().waiting)
    assert (True, False) == (second.working, first.working)


async def test_there_is_always_progress(budget: MemoryBudget) -> None:
    """One at a time is worked on even where nothing fits."""
    holds = [arrived(budget, "a", 20) for _ in range(3)]
    tasks = [await growing(hold, 80) for hold in holds]
    assert [True, False, False] == [task.done() for task in tasks]
    holds[0].release()
    await settle()
    assert [True, True, False] == [task.done() for task in tasks]
    holds[1].release()
    await settle()
    assert all(task.done() for task in tasks)


async def test_small_needs_pass_large_ones(budget: MemoryBudget) -> None:
    """An eighth of the limit is left for them, and they wait for nobody's large need."""
    await growing(arrived(budget, "b", 4), 20)
    await growing(arrived(budget, "a", 4), 26)
    large = await growing(arrived(budget, "a", 4), 30)
    small = await growing(arrived(budget, "a", 0), 1)
    assert (False, True) == (large.done(), small.done())
    large.cancel()


async def test_one_owner_leaves_room_for_others(budget: MemoryBudget) -> None:
    """More than three quarters are not for one."""
    first = arrived(budget, "a", 4)
    await growing(first, 32)
    own = await growing(arrived(budget, "a", 4), 10)
    other = await growing(arrived(budget, "b", 4), 8)
    assert (False, True) == (own.done(), other.done())
    first.release()
    await settle()
    assert own.done()


async def test_owners_take_turns(budget: MemoryBudget) -> None:
    """However many one has waiting, another one is next."""
    first = arrived(budget, "a", 1)
    await growing(first, 50)
    greedy = [arrived(budget, "a", 1) for _ in range(2)]
    other = arrived(budget, "b", 1)
    tasks = [await growing(hold, 50) for hold in (*greedy, other)]
    first.release()
    await settle()
    assert [True, False, False] == [task.done() for task in tasks]
    greedy[0].release()
    await settle()
    assert [True, False, True] == [task.done() for task in tasks]
    other.release()
    await settle()
    assert tasks[1].done()


async def test_who_waits_too_long_is_refused(budget: MemoryBudget, clock: FakeClock) -> None:
    """The refusal names the setting and says when to try again."""
    await growing(arrived(budget, "a", 1), 60)
    late = await growing(arrived(budget, "b", 1), 60, seconds=5)
    await clock.advance(5)
    with pytest.raises(Overloaded, match=r"64 MiB .*server\.max_memory_mb") as caught:
        await late
    assert (1.0, 1, 0) == (
        caught.value.retry_after,
        budget.state().refused,
        budget.state().waiting,
    )
    assert clock.now() == budget.state().refused_at


async def test_what_waits_is_bounded(budget: MemoryBudget) -> None:
    """Beyond the limit the newcomer of the owner that holds the most is refused."""
    await growing(arrived(budget, "a", 1), 60)
    waiting = [await growing(arrived(budget, "a", 30), 60) for _ in range(2)]
    with pytest.raises(Overloaded, match="too much waits"):
        await arrived(budget, "a", 30).grow(60 * MIB, None)
    assert [False, False] == [task.done() for task in waiting]
    other = await growing(arrived(budget, "b", 30), 60)
    assert ([False, True], False) == ([task.done() for task in waiting], other.done())
    with pytest.raises(Overloaded, match="others needed"):
        await waiting[1]
    for task in (waiting[0], other):
        task.cancel()


async def test_what_can_be_had_again_goes_first(budget: MemoryBudget) -> None:
    """Whoever keeps it is asked before anything waits, and when more is counted than there is."""
    journal = budget.account(Purpose.JOURNAL)

    def let_go(over: int) -> None:
        journal.change(-min(over, journal.bytes))

    budget.give_way(let_go)
    journal.change(60 * MIB)
    first, second = arrived(budget, "a", 1), arrived(budget, "b", 1)
    await growing(first, 20)
    assert (await growing(second, 10)).done()
    assert (24 * MIB, 56 * MIB) == (journal.bytes, budget.used)
    budget.account(Purpose.ANSWERS).change(10 * MIB)
    assert (22 * MIB, 64 * MIB) == (journal.bytes, budget.used)


async def test_who_leaves_gives_its_room_to_the_next(budget: MemoryBudget) -> None:
    """Cancelled while it waits, or just when its need was met."""
    first = arrived(budget, "a", 1)
    await growing(first, 50)
    left, met, last = (arrived(budget, owner, 1) for owner in "bcd")
    tasks = [await growing(hold, 50) for hold in (left, met, last)]
    tasks[0].cancel()
    await settle()
    first.release()  # the second one's need is met, and it is cancelled before it hears of it
    tasks[1].cancel()
    await settle()
    assert [True, True, False] == [task.cancelled() for task in tasks]
    assert (True, 51 * MIB) == (tasks[2].done(), last.size)
    for hold in (left, met, last):
        hold.release()
    assert (0, 0) == (budget.used, budget.state().waiting)


async def test_a_raised_limit_is_used(clock: FakeClock) -> None:
    """The limit is read each time, so that it can be changed live."""
    limit = [32 * MIB]
    budget = MemoryBudget(lambda: limit[0], clock)
    await growing(arrived(budget, "a", 1), 20)
    waiting = await growing(arrived(budget, "b", 1), 20)
    limit[0] = LIMIT
    assert (await growing(arrived(budget, "c", 0), 1)).done()
    arrived(budget, "c", 1).release()
    await settle()
    assert waiting.done()
