"""The machine's clock, as it is handed in."""

from __future__ import annotations

import asyncio
import time

import pytest

from gemini_backend.clock import SystemClock


async def test_it_is_the_monotonic_clock() -> None:
    """Its time lies between two readings of the machine's, and does not go back."""
    clock, before = SystemClock(), time.monotonic()
    first = clock.now()
    await clock.sleep(0)
    assert before <= first <= clock.now() <= time.monotonic()


async def test_an_alarm_rings_once_unless_it_is_cancelled() -> None:
    """What is cancelled before does not happen."""
    clock, rung = SystemClock(), asyncio.Event()
    clock.alarm(0, lambda: pytest.fail("was cancelled")).cancel()
    clock.alarm(0, rung.set)
    assert await asyncio.wait_for(rung.wait(), 5)


async def test_a_scope_ends_by_its_time_or_never() -> None:
    """No time is for ever; none left is over at the next wait."""
    clock = SystemClock()
    with pytest.raises(TimeoutError):
        async with clock.timeout(0):
            await asyncio.Event().wait()
    async with clock.timeout(None):
        await asyncio.sleep(0)
