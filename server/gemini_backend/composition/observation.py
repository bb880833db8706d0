"""Who watches: metrics, costs, the log of changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.composition.listening import listen
from gemini_backend.models.names import full_name
from gemini_backend.rpc import contract, handlers
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


def observation(foundation: Foundation, access: ModelAccess) -> Observation:
    """Return the watchers; from now on they hear of every change."""
    clock, listing = foundation.clock, access.listing
    streaming = handlers.streaming_by_method(contract.SERVICES)
    metrics = Metrics(clock, streaming, lambda short: full_name(short) in listing.known())
    paid = PaidExecutions(clock, access.registry.billed_name)
    listen(foundation.bus, clock, metrics, paid)
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
    return Observation(metrics, paid)
