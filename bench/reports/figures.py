"""Turns what was seen into the figures of the table."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from bench.measures import LONG, SHORT, Series, paired_ratio

if TYPE_CHECKING:
    from bench.measures import Memory
    from bench.programs import Target


@dataclass
class Seen:
    """Everything that was seen of one target."""

    target: Target
    series: dict[str, Series] = field(default_factory=dict)
    memory: Memory | None = None
    ready_seconds: list[float] = field(default_factory=list)

    def of(self, row: str) -> Series:
        """Returns the series of a row, an empty one if nothing was seen yet."""
        return self.series.setdefault(row, Series())


@dataclass(frozen=True)
class Figures:
    """A line of the table. CPU in microseconds of the whole process tree, for one exchange.

    Attributes:
        per_event: of each event beyond the twentieth of a paced stream.
        first_p50, first_p99: what the server adds to the time to the first delta, in milliseconds.
        idle_mib, open_mib: resident size, idle and by the number of open streams.
        open_first_ms: median and 99th percentile of the time to the first delta while they start.
        stream_kib: what each stream beyond 500 adds to it.
        ready_s: from the start to the ready line.
        messages: a burst's, so that merging shows.
        rounds: CPU by row, a value per round, so that servers are compared round by round.
    """

    title: str
    unary: float
    burst: float
    paced_10: float
    paced_20: float
    per_event: float
    first_p50: float
    first_p99: float
    messages: float
    idle_mib: float
    open_mib: dict[int, float]
    open_first_ms: dict[int, tuple[float, float]]
    stream_kib: float
    ready_s: float
    errors: int
    first_error: str
    note: str
    rounds: dict[str, list[float]] = field(default_factory=dict)

    def ratio(self, other: Figures, row: str) -> float:
        """Returns the median of the rounds' ratios to another server in a row."""
        return paired_ratio(self.rounds[row], other.rounds[row])


def figures(seen: Seen, direct: Series) -> Figures:
    """Makes a target's figures; `direct` is the paced row asked of the upstream itself."""
    cost = {key: series.cost() for key, series in seen.series.items()}
    latency = seen.of("paced_20")
    memory = seen.memory
    errors = sum(series.errors for series in seen.series.values())
    first_error = next((s.first_error for s in seen.series.values() if s.first_error), "")
    if memory is not None:
        errors += sum(memory.errors.values())
        first_error = first_error or memory.first_error
    return Figures(
        title=seen.target.title,
        unary=cost["unary"],
        burst=cost["burst"],
        paced_10=cost["paced_10"],
        paced_20=cost["paced_20"],
        per_event=(cost["paced_10_long"] - cost["paced_10"]) / (LONG - SHORT),
        first_p50=latency.first_ms(50) - direct.first_ms(50),
        first_p99=latency.first_ms(99) - direct.first_ms(99),
        messages=median(seen.of("burst").messages),
        idle_mib=memory.idle_kib / 1024 if memory else 0.0,
        open_mib={n: kib / 1024 for n, kib in memory.open_kib.items()} if memory else {},
        open_first_ms=memory.first_ms if memory else {},
        stream_kib=memory.kib_per_stream() if memory else 0.0,
        ready_s=median(seen.ready_seconds) if seen.ready_seconds else 0.0,
        errors=errors,
        first_error=first_error,
        note=seen.target.note,
        rounds={key: series.cpu_us for key, series in seen.series.items()},
    )
