"""What happens to sessions, as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from gemini_backend.telemetry.metrics.session_counts import SessionCounts


def session_families(prefix: str, counts: SessionCounts) -> Iterator[Metric]:
    """Yield every family; their names begin with `prefix`."""
    yield GaugeMetricFamily(
        f"{prefix}_sessions", "Stored sessions of all tenants.", value=counts.sessions
    )
    events = CounterMetricFamily(
        f"{prefix}_session_events",
        "Sessions created, deleted, expired and summarized.",
        labels=["event"],
    )
    for event, count in counts.events.items():
        events.add_metric([event], count)
    turns = CounterMetricFamily(
        f"{prefix}_session_turns",
        "Executions that named a session, by outcome.",
        labels=["outcome"],
    )
    for outcome, count in counts.turns.items():
        turns.add_metric([outcome], count)
    times = SummaryMetricFamily(
        f"{prefix}_session_store_seconds",
        "Duration of operations of the session store.",
        labels=["operation"],
    )
    failed = CounterMetricFamily(
        f"{prefix}_session_store_failures",
        "Failed operations of the session store.",
        labels=["operation"],
    )
    for operation, visits in counts.visits.items():
        times.add_metric([operation], visits.count, visits.seconds)
        failed.add_metric([operation], visits.failed)
    yield from (events, turns, times, failed)
