"""Room for large requests: who waits, who goes on, who is refused."""

from __future__ import annotations

import asyncio

import pytest

from gemini_backend.errors import Overloaded
from gemini_backend.memory import MemoryBudget, Purpose, RequestHold, RequestRoom
from gemini_backend.sizes import MIB
from tests.support.clock import FakeClock, settle

LIMIT = 64 * MIB


class Callers:
    """A room of 64 MiB, and those who want to enter it."""

    def __init__(self, clock: FakeClock, limit: int = LIMIT) -> None:
        """Begin with an empty room."""
        self.clock = clock
        self.limit = limit
        self.budget = MemoryBudget(lambda: self.limit, clock)
        self.room = RequestRoom(self.budget, clock)

    async def come(
        self, owner: str, mib: int, *, arrived: int = 1, seconds: float | None = None
    ) -> asyncio.Task[RequestHold]:
        """Return a task that wants room, after it has tried."""
        coming = self.room.enter(owner, arrived * MIB, mib * MIB, seconds)
        task = asyncio.create_task(coming)
        await settle()
        return task


@pytest.fixture
def callers(clock: FakeClock) -> Callers:
    """Return a room and its callers."""
    return Callers(clock)


async def test_what_does_not_fit_waits(callers: Callers) -> None:
    """It is let in once others have given back enough."""
    first = await callers.come("a", 34)
    second = await callers.come("b", 34, arrived=4)
    used = callers.budget.state().used
    assert (True, False, 1) == (first.done(), second.done(), callers.room.waiting)
    assert (34 * MIB, 4 * MIB) == (used["requests"], used["waiting"])
    first.result().read(20 * MIB)
    first.result().convert()
    first.result().sent()
    await settle()
    assert (True, 0, 54 * MIB) == (second.done(), callers.room.waiting, callers.budget.used)


async def test_a_hold_follows_its_request(callers: Callers) -> None:
    """Most while it is read and converted, less in between, nothing once it is over."""
    hold = (await callers.come("a", 40)).result()
    account = callers.budget.account(Purpose.REQUESTS)
    sizes = [account.bytes]
    hold.read(20 * MIB)
    hold.convert()
    sizes.append(account.bytes)
    hold.convert()
    hold.converted(10 * MIB)  # one of two
    hold.sent()
    sizes.append(account.bytes)
    hold.converted(10 * MIB)
    sizes.append(account.bytes)
    hold.sent()
    sizes.append(account.bytes)
    hold.convert()  # a retry
    sizes.append(account.bytes)
    hold.sent()
    hold.release()
    hold.release()
    sizes.append(account.bytes)
    assert [40, 40, 40, 30, 20, 40, 0] == [size // MIB for size in sizes]


async def test_there_is_always_progress(callers: Callers) -> None:
    """One at a time is worked on even where nothing fits."""
    tasks = [await callers.come("a", 80) for _ in range(3)]
    assert [True, False, False] == [task.done() for task in tasks]
    tasks[0].result().release()
    await settle()
    assert [True, True, False] == [task.done() for task in tasks]
    tasks[1].result().release()
    await settle()
    assert tasks[2].done()


async def test_small_ones_pass_large_ones(callers: Callers) -> None:
    """A sixteenth of the limit is left for them, and they wait for nobody's large request."""
    await callers.come("b", 24)
    await callers.come("a", 36)
    large = await callers.come("a", 30)
    small = await callers.come("a", 1)
    assert (False, True) == (large.done(), small.done())
    large.cancel()


async def test_one_owner_leaves_room_for_others(callers: Callers) -> None:
    """More than three quarters are not for one, while there are others."""
    first = await callers.come("a", 40)
    other = await callers.come("b", 2)
    own = await callers.come("a", 10)
    third = await callers.come("c", 10)
    assert (False, True, True) == (own.done(), other.done(), third.done())
    third.result().release()
    other.result().release()
    await settle()
    assert own.done()
    own = await callers.come("a", 30)
    first.result().release()
    await settle()
    assert own.done()


async def test_owners_take_turns(callers: Callers) -> None:
    """However many one has waiting, another one is next but one."""
    first = await callers.come("a", 50)
    greedy = [await callers.come("a", 50) for _ in range(2)]
    other = await callers.come("b", 50)
    first.result().release()
    await settle()
    assert (True, False, False) == (greedy[0].done(), greedy[1].done(), other.done())
    greedy[0].result().release()
    await settle()
    assert (False, True) == (greedy[1].done(), other.done())
    other.result().release()
    await settle()
    assert greedy[1].done()


async def test_who_waits_too_long_is_refused(callers: Callers) -> None:
    """At its deadline, with the reason that names the setting."""
    await callers.come("a", 60)
    late = await callers.come("b", 60, seconds=5)
    await callers.clock.advance(5)
    with pytest.raises(Overloaded, match=r"server\.max_memory_mb\) and there was no room"):
        await late
    state = callers.budget.state()
    assert (1, 0, 0) == (state.refused, state.used["waiting"], callers.room.waiting)


async def test_what_waits_is_bounded(callers: Callers) -> None:
    """Beyond the limit the newest of the owner that holds the most gives way, or the newcomer."""
    await callers.come("a", 60)
    waiting = [await callers.come("a", 60, arrived=30) for _ in range(2)]
    with pytest.raises(Overloaded, match="too much waits"):
        await callers.room.enter("a", 30 * MIB, 60 * MIB, None)
    assert [False, False] == [task.done() for task in waiting]
    other = await callers.come("b", 60, arrived=30)
    assert ([False, True], False) == ([task.done() for task in waiting], other.done())
    with pytest.raises(Overloaded, match="others needed"):
        await waiting[1]
    for task in (waiting[0], other):
        task.cancel()
    await settle()
    assert (0, 0) == (callers.room.waiting, callers.budget.state().used["waiting"])


async def test_one_that_is_larger_than_the_limit_may_wait(callers: Callers) -> None:
    """Where nobody else does: it would never be served otherwise."""
    first = await callers.come("a", 60)
    huge = await callers.come("b", 400, arrived=100)
    first.result().release()
    await settle()
    assert huge.done()


async def test_what_is_kept_gives_way(callers: Callers) -> None:
    """The journal lets go before a request waits."""
    journal = callers.budget.account(Purpose.JOURNAL)
    callers.budget.give_way(lambda over: journal.change(-min(over, journal.bytes)))
    journal.change(60 * MIB)
    await callers.come("a", 20)
    assert (await callers.come("b", 10)).done()
    assert (30 * MIB, 60 * MIB) == (journal.bytes, callers.budget.used)


async def test_who_leaves_gives_its_room_to_the_next(callers: Callers) -> None:
    """Cancelled while it waits, or just when it was let in."""
    first = await callers.come("a", 50)
    tasks = [await callers.come(owner, 50) for owner in "bcd"]
    tasks[0].cancel()
    await settle()
    first.result().release()  # the second one is let in, and cancelled before it hears of it
    tasks[1].cancel()
    await settle()
    assert ([True, True, False], True) == ([one.cancelled() for one in tasks], tasks[2].done())
    tasks[2].result().release()
    assert (0, 0) == (callers.budget.used, callers.room.waiting)


async def test_a_raised_limit_is_used(callers: Callers) -> None:
    """The limit is read each time, so that it can be changed live."""
    callers.limit = 32 * MIB
    await callers.come("a", 20)
    waiting = await callers.come("b", 20)
    callers.limit = LIMIT
    callers.budget.account(Purpose.ANSWERS).change(1)
    callers.budget.account(Purpose.ANSWERS).change(-1)
    await settle()
    assert waiting.done()
