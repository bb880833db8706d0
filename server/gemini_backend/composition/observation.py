"""Who listens to the events of a server: metrics, costs, counts, the log of changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.models.names import full_name
from gemini_backend.rpc import contract, handlers
from gemini_backend.telemetry.logs.state_change_log import ChangeCounts, ChangeLog
from gemini_backend.telemetry.metrics.cache_counts import CacheCounts
from gemini_backend.telemetry.metrics.cost_metrics import PaidExecutions
from gemini_backend.telemetry.metrics.metrics import Gauge, Metrics

if TYPE_CHECKING:
    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.composition.model_access import ModelAccess


@dataclass(frozen=True, slots=True)
class Observation:
    """What was counted so far."""

    metrics: Metrics
    paid: PaidExecutions
    caches: CacheCounts


def observation(foundation: Foundation, access: ModelAccess) -> Observation:
    """Return the listeners; they hear what is published from now on."""
    clock, listing = foundation.clock, access.listing
    streaming = handlers.streaming_by_method(contract.SERVICES)
    metrics = Metrics(clock, streaming, lambda short: full_name(short) in listing.known())
    paid = PaidExecutions(clock, access.registry.billed_name)
    changes = ChangeCounts(metrics.label_of)
    caches = CacheCounts(access.pricing.saved)
    for listener in (metrics, paid, caches, changes, ChangeLog(clock)):
        listener.listen(foundation.bus)
    metrics.add_source(paid.figures)
    metrics.add_source(changes.figures)
    for gauge in (
        Gauge(
            "upstream_connections_in_use",
            "Connections that carry a request.",
            access.upstream.connections,
        ),
        Gauge(
            "event_loop_lag_seconds",
            "Delay of the event loop.",
            lambda: foundation.lag.latest,
        ),
    ):
        metrics.add_gauge(gauge)
    return Observation(metrics, paid, caches)
