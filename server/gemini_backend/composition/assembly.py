"""Everything that doors need: the chain as it is configured, and the services behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gemini_backend.api.overview import Overview
from gemini_backend.call import Work
from gemini_backend.composition.chain import attempt_layers, execution_layers, transport_layers
from gemini_backend.composition.extensions import Extensions
from gemini_backend.composition.semantic import semantic_of
from gemini_backend.composition.services import embedding_of, reports_of, services_of
from gemini_backend.policies.chain import Chain
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.telemetry.health.health_report import HealthReporter
from gemini_backend.telemetry.memory_report import MemoryReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.api.embedding import Embedding
    from gemini_backend.composition.parts import Parts
    from gemini_backend.policies.chain import Layer
    from gemini_backend.telemetry.health.health_report import Component


@dataclass(frozen=True, slots=True)
class Assembly:
    """The chain; the services by their names in the contract; what judges health."""

    chain: Chain
    embedding: Embedding
    overview: Overview
    reporter: HealthReporter
    services: dict[str, Any]

    async def aclose(self) -> None:
        """End the runs that no caller waits for."""
        journal = self.chain.find(Journal)
        if journal is not None:
            await journal.aclose()
        await self.chain.get(SingleFlight).aclose()
        await self.embedding.aclose()


def assembled(
    parts: Parts,
    tracing: Any = None,
    edge: Any = None,
    components: Sequence[Callable[[], Component]] = (),
) -> Assembly:
    """Return the chain and the services.

    Args:
        parts: What they are made of.
        tracing: What gRPC's door mounts outermost; None for no tracing.
        edge: What gRPC's door mounts to make calls of its requests; None without that door.
        components: What judges the health of parts at the doors.

    Raises:
        ConfigError: a layer of the operator's own, or a package that one needs, is missing.
    """
    base, access, seen, kept = parts.base, parts.access, parts.seen, parts.kept
    extensions = Extensions(base.config.interceptors)

    def revision() -> object:
        return base.store.current

    attempts = extensions.placed(attempt_layers(base, access))
    embedding = embedding_of(parts, Chain(attempts, revision).pipeline(Work.EMBEDDING))
    semantic = semantic_of(base, kept, embedding.embed)
    requests = [*transport_layers(tracing, edge), *execution_layers(parts, semantic)]
    placed = extensions.placed(requests)
    chain = Chain([*placed, *attempts], revision)
    extensions.check(chain)
    _share_bytes(placed, requests, to_grpc=edge is not None)
    overview = Overview(
        chain, access.keys, kept.answers, seen.caches, lambda: base.config.cache.mode != "off"
    )
    seen.metrics.add_source(overview.families)
    seen.metrics.add_source(kept.executions.families)
    seen.metrics.add_source(parts.audit.families)
    reporter = _reporter(parts, overview, components)
    services = {
        **services_of(parts, chain, embedding),
        **reports_of(parts, chain, overview, reporter),
    }
    return Assembly(chain, embedding, overview, reporter, services)


def _reporter(
    parts: Parts, overview: Overview, components: Sequence[Callable[[], Component]]
) -> HealthReporter:
    """Return what judges health, of each part that is in use."""
    base, seen, kept = parts.base, parts.seen, parts.kept
    memory = MemoryReport(base.memory, base.requests, base.clock)
    memory.listen(base.bus)
    seen.metrics.add_source(memory.families)
    return HealthReporter(
        seen.metrics,
        base.lifecycle,
        parts.access.listing,
        clock=base.clock,
        component_status=overview.component_status,
        others=[
            seen.descriptors.component,
            memory.component,
            *kept.components(base.config),
            *parts.audit.components(),
            *parts.access.components(),
            *parts.ports.components(),
            *components,
        ],
    )


def _share_bytes(placed: list[Layer], own: list[Layer], *, to_grpc: bool) -> None:
    """Let the bytes of an event be made once, where no layer of the operator's own is further out.

    Such a layer has to see messages, and may change them.
    """
    foreign = False
    for row in placed:
        foreign = foreign or row not in own
        if isinstance(row.layer, Journal):
            row.layer.hands_on_bytes = to_grpc and not foreign
        elif isinstance(row.layer, SingleFlight):
            row.layer.same_bytes = not foreign
