"""Resident size, idle and with many slow streams open at once."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.programs import Plan, percentile, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.programs import Service, Target

SETTLE_SECONDS = 1.0
SAMPLE_SECONDS = 0.25
STEPS = ((500, 25), (2000, 40))  # streams, and the events of each
STARTS_A_SECOND = 1000.0
TIMEOUT_SECONDS = 60.0


@dataclass
class Memory:
    """What a fresh process was seen to hold.

    Attributes:
        idle_kib: after the ready line, before any call.
        open_kib: the most that was seen, by the number of open streams.
        errors: streams that failed, or were not open together with the rest, by that number.
        first_ms: median and 99th percentile of the time to the first delta, by that number.
    """

    idle_kib: int = 0
    open_kib: dict[int, int] = field(default_factory=dict)
    errors: dict[int, int] = field(default_factory=dict)
    first_ms: dict[int, tuple[float, float]] = field(default_factory=dict)
    first_error: str = ""
    ready_seconds: list[float] = field(default_factory=list)

    def kib_per_stream(self) -> float:
        """Returns what each stream beyond the fewest adds, in KiB."""
        few, many = STEPS[0][0], STEPS[-1][0]
        if few not in self.open_kib or many not in self.open_kib:
            return 0.0
        return (self.open_kib[many] - self.open_kib[few]) / (many - few)


def measure(target: Target, upstream: str, load: Path) -> Memory:
    """Starts `target` afresh, and holds 500 and then 2,000 streams of an event every 200 ms."""
    service = target.start(upstream)
    memory = Memory(ready_seconds=[service.ready_seconds])
    try:
        time.sleep(SETTLE_SECONDS)
        memory.idle_kib = service.resident_kib()
        address = next(iter(service.addresses.values()))
        for count, events in STEPS:
            plan = Plan(count, rate=STARTS_A_SECOND, timeout=TIMEOUT_SECONDS, connections=16)
            request = target.ask(address, f"bench-slowx{events}", events)
            with largest(service) as sizes:
                outcome = run(load, request, plan)
            memory.open_kib[count] = max(sizes)
            waits = list(outcome.first_us)
            memory.first_ms[count] = (percentile(waits, 50) / 1e3, percentile(waits, 99) / 1e3)
            # Streams that were not all open at the same time prove nothing.
            memory.errors[count] = outcome.errors or count - outcome.peak_open
            if memory.errors[count] and not memory.first_error:
                memory.first_error = f"{count} slow streams: {outcome.first_error}"
    finally:
        service.stop()
    return memory


@contextmanager
def largest(service: Service) -> Iterator[list[int]]:
    """Yields a list to which the resident size is added until the block ends."""
    sizes = [service.resident_kib()]
    over = threading.Event()

    def sample() -> None:
        while not over.wait(SAMPLE_SECONDS):
            sizes.append(service.resident_kib())

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield sizes
    finally:
        over.set()
        sampler.join()
