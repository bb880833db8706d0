"""The services of the contract, by their names there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.api.admin.audit import AuditService
from gemini_backend.api.admin.keys import KeyService
from gemini_backend.api.admin.upstream_keys import UpstreamKeyService
from gemini_backend.api.batch import BatchRunner
from gemini_backend.api.config import ConfigService
from gemini_backend.api.embed_batcher import EmbedBatcher
from gemini_backend.api.embedding import Embedding
from gemini_backend.api.embedding_progress import EmbeddingProgress
from gemini_backend.api.execute import ExecuteService
from gemini_backend.api.executions import Executions
from gemini_backend.api.health import HealthService
from gemini_backend.api.messages.cache_stats import cache_stats_of
from gemini_backend.api.metrics import MetricsService
from gemini_backend.api.model_measures import ModelMeasures
from gemini_backend.api.models import ModelService
from gemini_backend.api.sessions import SessionService
from gemini_backend.api.token_count import TokenCount
from gemini_backend.call import Work
from gemini_backend.policies.cache.key import run_key
from gemini_backend.policies.cache.semantic import SemanticCache
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.telemetry.metrics.process import Process

if TYPE_CHECKING:
    from gemini.backend.v1.metrics_service_pb2 import GetCacheStatsResponse
    from gemini_backend.api.overview import Overview
    from gemini_backend.composition.parts import Parts
    from gemini_backend.policies.chain import Chain
    from gemini_backend.policies.pipeline import Pipeline
    from gemini_backend.telemetry.health.health_report import HealthReporter


def embedding_of(parts: Parts, attempts: Pipeline) -> Embedding:
    """Return the service of embeddings, which go upstream through `attempts`."""
    base, access, store = parts.base, parts.access, parts.base.store
    send = attempts.unary(access.upstream.embed)
    progress = EmbeddingProgress(send, base.clock, base.bus, access.pricing.price)
    batcher = EmbedBatcher(lambda: store.current.embed, progress.embed, base.clock)
    return Embedding(batcher, lambda: store.current.embed.model)


def services_of(parts: Parts, chain: Chain, embedding: Embedding) -> dict[str, Any]:
    """Return the services that do something: executions, sessions, configuration, keys."""
    base, access = parts.base, parts.access
    context = parts.kept.sessions.context
    count = TokenCount(
        lambda: base.store.current.tokens,
        access.upstream.count_tokens,
        access.counter,
        context,
        base.clock,
    )
    return {
        "ExecuteService": ExecuteService(
            access.upstream,
            lambda: base.store.current.execution.default_model,
            _batch(parts, chain),
            embedding.serve,
            token_count=count,
            executions=_executions(parts, chain),
        ),
        "SessionService": SessionService(context),
        "ConfigService": ConfigService(base.store, base.lifecycle),
        "KeyService": KeyService(parts.kept.api_keys, base.wall),
        "AuditService": AuditService(parts.audit.place, parts.audit.key),
        "UpstreamKeyService": UpstreamKeyService(access.sources, base.keyring, base.wall),
    }


def reports_of(
    parts: Parts, chain: Chain, overview: Overview, reporter: HealthReporter
) -> dict[str, Any]:
    """Return the services that report: models, metrics, health."""
    base, access, seen, kept = parts.base, parts.access, parts.seen, parts.kept
    semantic = chain.find(SemanticCache)

    def cache_stats() -> GetCacheStatsResponse:
        enabled = base.config.cache.mode != "off"
        return cache_stats_of(
            seen.caches, kept.answers, semantic, enabled=enabled, wall=base.wall()
        )

    measures = ModelMeasures(seen.metrics, seen.speeds, overview.component_status, base.clock)
    return {
        "ModelService": ModelService(access.registry, access.listing, measures.of, base.wall),
        "MetricsService": MetricsService(
            seen.metrics,
            Process(base.clock, base.lag),
            access.connections,
            base.lifecycle,
            overview=overview,
            cache_stats=cache_stats,
            cost=lambda: seen.costs.cost_nano_usd,
            clock=base.clock,
            wall=base.wall,
        ),
        "HealthService": HealthService(
            reporter,
            base.lifecycle,
            seen.metrics,
            base.store,
            upstream=access.provider.facts,
            key_count=access.key_count,
            listing=access.listing,
            chain=chain,
            clock=base.clock,
        ),
    }


def _executions(parts: Parts, chain: Chain) -> Executions:
    journal, base = chain.find(Journal), parts.base
    store = None if journal is None else journal.store
    return Executions(parts.kept.executions, store, base.clock)


def _batch(parts: Parts, chain: Chain) -> BatchRunner:
    store, coalesce = parts.base.store, chain.get(SingleFlight)
    return BatchRunner(
        chain.pipeline(Work.ITEM).unary(parts.access.upstream.process),
        lambda: store.current.execution.batch_concurrency,
        # each item of a session is a turn of its own
        lambda call, item: (
            run_key(call, item) if not item.session and coalesce.shares(item) else None
        ),
        parts.kept.executions,
    )
