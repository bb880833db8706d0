"""Who listens to the events of a server: metrics, costs, the log of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.logs.state_change_log import ChangeCounts, ChangeLog

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus
    from gemini_backend.telemetry.metrics.cost_metrics import PaidExecutions
    from gemini_backend.telemetry.metrics.metrics import Metrics


def listen(bus: Bus, clock: Clock, metrics: Metrics, paid: PaidExecutions) -> None:
    """Let all of them hear what is published from now on, and `metrics` show what they count."""
    changes = ChangeCounts(metrics.label_of)
    for listener in (metrics, paid, ChangeLog(clock), changes):
        listener.listen(bus)
    metrics.add_source(paid.figures)
    metrics.add_source(changes.figures)
