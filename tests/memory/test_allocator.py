"""Free memory goes back to the system."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gemini_backend.memory import GivingBack, MemoryBudget, Purpose
from gemini_backend.memory.allocator import MUCH, QUIET_TICKS
from gemini_backend.sizes import MIB
from tests.support.clock import settle

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def ticks(clock: FakeClock, count: int) -> None:
    """Let so many seconds pass, and threads come to their end."""
    for _ in range(count):
        await clock.advance(1.0)
        for _ in range(3):
            await asyncio.to_thread(bool)
            await settle()


async def test_what_was_freed_goes_back_soon(clock: FakeClock) -> None:
    """A second after much was freed, once; less than that is not worth it."""
    budget, trims = MemoryBudget(lambda: MIB, clock), list[float]()
    giving = GivingBack(budget, clock, lambda: trims.append(clock.now()), lambda: 0)
    task = asyncio.create_task(giving.run())
    await settle()
    account = budget.account(Purpose.REQUESTS)
    account.change(2 * MUCH)
    account.change(-MUCH + 1)
    await ticks(clock, 2)
    before = len(trims)
    account.change(-1)
    await ticks(clock, 3)
    assert (0, 1) == (before, giving.trims)
    task.cancel()


async def test_a_large_heap_is_trimmed_from_time_to_time(clock: FakeClock) -> None:
    """Not all that is freed is counted."""
    resident = [100 * MIB]
    budget = MemoryBudget(lambda: MIB, clock)
    giving = GivingBack(budget, clock, lambda: None, lambda: resident[0])
    task = asyncio.create_task(giving.run())
    await settle()
    await ticks(clock, QUIET_TICKS + 1)
    idle = giving.trims
    resident[0] += MUCH
    await ticks(clock, QUIET_TICKS)
    assert (0, 1) == (idle, giving.trims)
    task.cancel()


async def test_the_librarys_own_trim_is_found(clock: FakeClock) -> None:
    """On this machine it runs as it is, or there is none and the task ends."""
    budget = MemoryBudget(lambda: MIB, clock)
    giving = GivingBack(budget, clock)
    task = asyncio.create_task(giving.run())
    await settle()
    await ticks(clock, 1)
    budget.account(Purpose.BODIES).change(MUCH)
    budget.account(Purpose.BODIES).change(-MUCH)
    await ticks(clock, 3)
    assert task.done() or giving.trims == 1
    task.cancel()
