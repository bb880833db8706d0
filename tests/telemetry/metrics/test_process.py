"""Samples of the process, and the lag of its loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gemini_backend.telemetry.metrics.process import LAG_INTERVAL_SECONDS, LoopLag, Process


class LateClock:
    """A clock whose sleeps end late, by amounts that are given."""

    def __init__(self, *late: float) -> None:
        """Be late by these amounts, then sleep for ever."""
        self.time = 50.0
        self._late = list(late)

    def now(self) -> float:
        """Return the time."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Return too late."""
        if not self._late:
            await asyncio.Event().wait()
        self.time += seconds + self._late.pop(0)

    def timeout(self, seconds: float | None) -> Any:
        """Never needed here.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError


async def _measured(clock: LateClock) -> LoopLag:
    lag = LoopLag(clock)
    task = asyncio.create_task(lag.run())
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return lag


async def test_lag_is_what_a_timer_was_late_by() -> None:
    """The latest and the longest delay are kept."""
    lag = await _measured(LateClock(0.2, 0.05))
    assert lag.latest == pytest.approx(0.05)
    assert lag.longest == pytest.approx(0.2)


async def test_longest_lag_is_of_the_last_minute() -> None:
    """A delay that is a minute old is forgotten."""
    steps = int(60 / LAG_INTERVAL_SECONDS)
    lag = await _measured(LateClock(9.0, *([0.01] * steps)))
    assert lag.longest == pytest.approx(0.01)


async def test_a_sample_is_of_this_process() -> None:
    """Memory, descriptors, threads and tasks are real; CPU is measured between samples."""
    clock = LateClock()
    cpu = iter((10.0, 11.0))
    process = Process(clock, LoopLag(clock), cpu_seconds=lambda: next(cpu))
    first = process.sample()
    clock.time += 2.0
    second = process.sample()
    assert (first.cpu_utilization, second.cpu_utilization) == (0.0, 0.5)
    assert second.uptime == pytest.approx(2.0)
    assert first.resident_bytes > 1_000_000
    assert first.open_files > 2
    assert first.threads >= 1
    assert first.tasks == 1
    assert (first.lag, first.lag_max) == (0.0, 0.0)
