"""The rows of the benchmark: what is asked, how often, and how the CPU time is counted."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

from bench.programs import Plan, percentile, run

if TYPE_CHECKING:
    from pathlib import Path

    from bench.programs import Request, Service, Target

LONG = 60
SHORT = 20


@dataclass(frozen=True)
class Row:
    """One kind of load.

    Attributes:
        key: its name in the results.
        model: tells the upstream what to do.
        events: that the upstream sends for one request.
        plan: for a server that needs no sparing.
        latency: whether the times to the first message are kept.
    """

    key: str
    model: str
    events: int
    plan: Plan
    latency: bool = False


# Paced rows start at random moments (open loop), so that streams do not fall into step and share
# wake-ups. The two lengths of the 10 ms row keep as many events a second, and as many streams
# open, so that their difference is the cost of an event and not of another load.
ROWS = (
    Row("unary", "bench-unary", 1, Plan(total=2000)),
    Row("burst", "bench-burst", SHORT, Plan(total=1000)),
    Row("paced_10", "bench-paced-10", SHORT, Plan(total=375, rate=125)),
    Row("paced_10_long", f"bench-paced-10x{LONG}", LONG, Plan(total=125, rate=125 * SHORT / LONG)),
    Row("paced_20", "bench-paced-20", SHORT, Plan(total=200, rate=50), latency=True),
)
WARM_UP = 0.1


@dataclass
class Series:
    """What was seen of one row on one target, a value a round.

    Attributes:
        cpu_us: CPU time of the target's process tree for one exchange.
        upstream_us, client_us: the same of the tools, to show that they are cheap.
        first_us: all times to the first message.
        errors: exchanges that failed.
    """

    cpu_us: list[float] = field(default_factory=list)
    upstream_us: list[float] = field(default_factory=list)
    client_us: list[float] = field(default_factory=list)
    first_us: list[float] = field(default_factory=list)
    messages: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    def cost(self) -> float:
        """Returns the median CPU time of one exchange, in microseconds."""
        return median(self.cpu_us) if self.cpu_us else 0.0

    def first_ms(self, percent: float) -> float:
        """Returns a percentile of the time to the first message, in milliseconds."""
        return percentile(self.first_us, percent) / 1e3


def plan_for(row: Row, target: Target, scale: float) -> Plan:
    """Returns the row's plan as `target` can bear it, `scale` times as long."""
    plan = row.plan
    total = max(10, round(plan.total * target.share * scale))
    rate = min(plan.rate, target.rate) if target.rate and plan.rate else plan.rate
    concurrency = min(plan.concurrency, target.concurrency or plan.concurrency)
    return replace(plan, total=total, rate=rate, concurrency=concurrency)


@dataclass(frozen=True)
class Bench:
    """A target that runs, and the tools round it."""

    target: Target
    service: Service
    upstream: Service
    load: Path

    def warm_up(self, row: Row) -> None:
        """Makes a few calls that are not counted: imports, connections, caches."""
        plan = plan_for(row, self.target, WARM_UP)
        run(self.load, self._request(row), plan)

    def measure(self, row: Row, scale: float, series: Series) -> None:
        """Makes the row's calls once and adds what was seen to `series`."""
        plan = plan_for(row, self.target, scale)
        service_us, upstream_us = self.service.cpu_us(), self.upstream.cpu_us()
        outcome = run(self.load, self._request(row), plan)
        series.cpu_us.append((self.service.cpu_us() - service_us) / plan.total)
        series.upstream_us.append((self.upstream.cpu_us() - upstream_us) / plan.total)
        series.client_us.append(outcome.cpu_us / plan.total)
        series.messages.append(outcome.messages / plan.total)
        series.errors += outcome.errors
        if outcome.errors and not series.first_error:
            series.first_error = f"{row.key}: {outcome.first_error}"
        if row.latency:
            series.first_us.extend(outcome.first_us)

    def _request(self, row: Row) -> Request:
        address = next(iter(self.service.addresses.values()))
        return self.target.ask(address, row.model, row.events)
