"""The process itself: memory, CPU, descriptors, and how late its event loop is."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock

LAG_INTERVAL_SECONDS = 0.5
LAG_WINDOW_SECONDS = 60.0
_PROC = Path("/proc/self")


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """The process at one moment; times are seconds, sizes bytes.

    `cpu_utilization` is the share of one core used since the sample before (0 for the first);
    `lag` is the loop's latest delay, `lag_max` the longest of the last minute.
    """

    resident_bytes: int
    cpu_seconds: float
    cpu_utilization: float
    uptime: float
    lag: float
    lag_max: float
    open_files: int
    threads: int
    tasks: int


class LoopLag:
    """Measures how late the event loop is; `run` is owned by whoever starts it."""

    def __init__(self, clock: Clock) -> None:
        """Know nothing yet."""
        self._clock = clock
        count = int(LAG_WINDOW_SECONDS / LAG_INTERVAL_SECONDS)
        self._lags: deque[float] = deque(maxlen=count)

    async def run(self) -> None:
        """Measure, twice a second, until cancelled."""
        while True:
            planned = self._clock.now() + LAG_INTERVAL_SECONDS
            await self._clock.sleep(LAG_INTERVAL_SECONDS)
            self._lags.append(max(0.0, self._clock.now() - planned))

    @property
    def latest(self) -> float:
        """The latest delay in seconds; 0 before the first measurement."""
        return self._lags[-1] if self._lags else 0.0

    @property
    def longest(self) -> float:
        """The longest delay of the last minute in seconds; 0 before the first measurement."""
        return max(self._lags, default=0.0)


class Process:
    """Takes samples of the process that it runs in. Reads /proc, so it is for Linux."""

    def __init__(
        self,
        clock: Clock,
        lag: LoopLag,
        cpu_seconds: Callable[[], float] = time.process_time,
    ) -> None:
        """Count uptime from now on."""
        self._clock = clock
        self._lag = lag
        self._cpu_seconds = cpu_seconds
        self._started = clock.now()
        self._before: tuple[float, float] | None = None
        self._page = os.sysconf("SC_PAGE_SIZE")

    def sample(self) -> ProcessSample:
        """Return the state at this moment; must be called on the event loop. Costs about 50 µs."""
        now, cpu = self._clock.now(), self._cpu_seconds()
        before, self._before = self._before, (now, cpu)
        elapsed = now - before[0] if before else 0.0
        return ProcessSample(
            resident_bytes=int((_PROC / "statm").read_text().split()[1]) * self._page,
            cpu_seconds=cpu,
            cpu_utilization=(cpu - before[1]) / elapsed if before and elapsed > 0 else 0.0,
            uptime=now - self._started,
            lag=self._lag.latest,
            lag_max=self._lag.longest,
            open_files=_entries("fd"),
            threads=_entries("task"),
            tasks=len(asyncio.all_tasks()),
        )


def _entries(folder: str) -> int:
    return sum(1 for _ in (_PROC / folder).iterdir())
