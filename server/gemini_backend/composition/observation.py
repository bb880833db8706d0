"""Who listens to the events of a server: metrics, costs, counts, the log of changes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from gemini_backend.models.names import full_name
from gemini_backend.rpc import contract
from gemini_backend.telemetry.health.descriptor_health import DescriptorHealth
from gemini_backend.telemetry.logs.state_change_log import StateChangeLog
from gemini_backend.telemetry.metrics.cost_metrics import CostMetrics
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts
from gemini_backend.telemetry.metrics.listeners.change_counts import ChangeCounts
from gemini_backend.telemetry.metrics.listeners.session_counts import SessionCounts
from gemini_backend.telemetry.metrics.listeners.tenant_counts import TenantCounts
from gemini_backend.telemetry.metrics.metric_families import Family
from gemini_backend.telemetry.metrics.metrics import Metrics
from gemini_backend.telemetry.metrics.model_speeds import ModelSpeeds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.composition.model_access import ModelAccess


@dataclass(frozen=True, slots=True)
class Observation:
    """What was counted so far."""

    metrics: Metrics
    costs: CostMetrics
    speeds: ModelSpeeds
    caches: CacheCounts
    descriptors: DescriptorHealth


def observation(foundation: Foundation, access: ModelAccess) -> Observation:
    """Return the listeners; they hear what is published from now on."""
    clock, listing = foundation.clock, access.listing
    streaming = contract.streaming_by_method(contract.SERVICES)
    named = partial(_named_models, foundation)
    metrics = Metrics(
        clock,
        streaming,
        lambda short: full_name(short) in listing.known(),
        named_models=named,
    )
    costs = CostMetrics(access.registry.billed_name, named)
    speeds = ModelSpeeds(clock, access.registry.billed_name)
    changes = ChangeCounts(metrics.label_of, metrics.first_models)
    caches, sessions = CacheCounts(access.pricing.saved), SessionCounts()
    log, descriptors = StateChangeLog(clock), DescriptorHealth(clock)
    for listener in (metrics, costs, speeds, caches, sessions, changes, log, descriptors):
        listener.listen(foundation.bus)

    def gauges() -> Iterator[Family]:
        said = "Connections that carry a request."
        yield Family.gauge("upstream_connections_in_use", said, access.upstream.connections())
        said = "Delay of the event loop."
        yield Family.gauge("event_loop_lag_seconds", said, foundation.lag.latest)

    if foundation.config.auth_methods:
        tenants = TenantCounts()
        tenants.listen(foundation.bus)
        metrics.add_source(tenants.families)
    sources = (costs.families, changes.families, sessions.families, gauges)
    for source in (access.sources.families, *sources):
        metrics.add_source(source)
    return Observation(metrics, costs, speeds, caches, descriptors)


def _named_models(foundation: Foundation) -> tuple[str, ...]:
    """Return the models that the configuration in force names."""
    config = foundation.store.current
    return (config.execution.default_model, *config.fallback.models, config.embed.model)
