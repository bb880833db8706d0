"""What outlives a call: made once from the configuration, used by every layer and service."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini_backend.api.embed_batcher import Gathering
from gemini_backend.api.messages.cache_stats import cache_stats_of
from gemini_backend.clock import SystemClock
from gemini_backend.composition.listening import listen
from gemini_backend.composition.semantic import semantic_of
from gemini_backend.config import ConfigStore
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.measured import NOTHING, Seen
from gemini_backend.models.names import full_name, short_name
from gemini_backend.models.registry import Registry
from gemini_backend.policies.attempts.key_pool import KeyBoard
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import Coalesce
from gemini_backend.processing.tokens.counting import Counter
from gemini_backend.processing.tokens.tokenizer import Tokenizer
from gemini_backend.processing.workers.embedder import Embedder
from gemini_backend.rpc import contract, handlers
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.stores.session_service import SessionKeeper
from gemini_backend.telemetry.events import Bus
from gemini_backend.telemetry.health.health_report import ConditionReporter
from gemini_backend.telemetry.health.lifecycle import Lifecycle
from gemini_backend.telemetry.metrics.cache_counts import CacheCounts
from gemini_backend.telemetry.metrics.cost_metrics import PaidExecutions
from gemini_backend.telemetry.metrics.metrics import OTHER, Gauge, Metrics
from gemini_backend.telemetry.metrics.process import LoopLag

if TYPE_CHECKING:
    from gemini.backend.v1.execute_service_pb2 import EmbedRequest, EmbedResponse
    from gemini.backend.v1.metrics_service_pb2 import GetCacheStatsResponse
    from gemini_backend.api.overview import Overview
    from gemini_backend.call import Call
    from gemini_backend.config import Config, Settings
    from gemini_backend.models.listing import UpstreamModel
    from gemini_backend.policies.base import Pipeline
    from gemini_backend.telemetry.health.component_status import Standing
    from gemini_backend.upstream.base import Provider

_MODELS_TIMEOUT_SECONDS = 20.0
_MIB = 1024 * 1024


class State:
    """Stores, boards, counters, the upstream: nothing is opened until it is used.

    `provider` makes the upstream.
    """

    def __init__(self, settings: Settings, provider: Provider) -> None:
        """Make everything.

        Raises:
            ConfigError: the configuration cannot be carried out.
        """
        self.clock = SystemClock()
        self.store = ConfigStore(settings)
        self.provider = provider
        streaming = handlers.streaming_by_method(contract.SERVICES)
        self.metrics = Metrics(self.clock, streaming, self._known_model)
        self.bus = Bus()
        self.quota = self._quota()
        self.keys = self._keys()
        self.upstream = provider.connect(self.clock, self.keys, self.bus)
        refresh = provider.models_refresh_seconds
        self.listing = ModelListing(self._read_models, self.clock, refresh)
        catalogue = load(self.config.models.catalogue_file)
        self.registry = Registry(catalogue, self.listing, lambda: datetime.now(UTC))
        self.paid = PaidExecutions(self.clock, self.registry.billed_name)
        listen(self.bus, self.clock, self.metrics, self.paid)
        self.tokenizer = Tokenizer(lambda: self.config.tokens, self.clock)
        self.counter = Counter(self.tokenizer, self.registry.real_name, self.registry.generation)
        self.lifecycle = Lifecycle()
        self.sessions = SessionKeeper(
            lambda: self.config, self.metrics.sessions, clock=self.clock, wall=time.time
        )
        self.reporter = ConditionReporter(
            self.metrics,
            self.lifecycle,
            self.listing,
            refresh,
            clock=self.clock,
            standing=self._standing,
            others=[self.sessions.component],
        )
        self.lag = LoopLag(self.clock)
        self.pricing = Pricing(self.registry)
        self.counts = CacheCounts(price=self.pricing.saved)
        self.answers = self._answers()
        self.embedder = Embedder(self.clock)
        self.semantic = semantic_of(self)
        self.coalesce = Coalesce(lambda: self.config.coalesce, self.clock, self.counts)
        self.journal = self._journal()
        self._gathering: Gathering | None = None
        self._overview: Overview | None = None
        self._add_gauges()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.store.current

    def gather(self, policies: Pipeline) -> None:
        """Let embeddings go upstream through `policies`; to be called once there are layers."""
        send = policies.unary(self.upstream.embed)
        self._gathering = Gathering(lambda: self.config.embed, send, self.clock)

    def watch(self, overview: Overview) -> None:
        """Let health and metrics see the layers; to be called once there are any."""
        self._overview = overview
        self.metrics.add_source(overview.figures)

    @property
    def overview(self) -> Overview:
        """The layers, as those see them who watch."""
        if self._overview is None:
            msg = "the layers are read before they are created"
            raise RuntimeError(msg)
        return self._overview

    async def embed(self, call: Call, request: EmbedRequest) -> EmbedResponse:
        """Return the vectors of a request's contents.

        Raises:
            ServiceError: a content could not be embedded.
        """
        request.model = full_name(request.model or self.config.embed.model)
        if self._gathering is None:
            msg = "embeddings are requested before the layers are created"
            raise RuntimeError(msg)
        response = await self._gathering.embed(call, request)
        cost = self.pricing.price(response.model, response.usage)
        if cost is not None and response.HasField("usage"):
            response.cost.CopyFrom(cost)
            self.paid.spent(response.model, cost.cost_nano_usd)
        return response

    def connections(self) -> tuple[int, int]:
        """Return how many connections carry a request, and how many there may be."""
        return self.upstream.connections(), self.provider.facts.max_connections

    def seen(self, model: str) -> Seen:
        """Return what was measured of a model in the last minutes."""
        if self.metrics.label_of(model) == OTHER:
            return NOTHING  # what many unknown models did together is said of none of them
        broken = self._overview is not None and self._overview.broken(model)
        recent = self.metrics.performance(model=model).executions
        return self.paid.seen(short_name(model), recent, broken=broken)

    def cache_stats(self) -> GetCacheStatsResponse:
        """Return the figures of the caches."""
        return cache_stats_of(
            self.counts, self.answers, self.semantic, enabled=self.caches(), wall=time.time()
        )

    def caches(self) -> bool:
        """Say whether the cache of exact matches is on."""
        return self.config.cache.mode != "off"

    async def follow_config(self) -> None:
        """Carry live changes to the parts that do not look them up by themselves."""
        async for revision in self.store.subscribe():
            self.upstream.reconfigure(revision.config)
            logging.getLogger().setLevel(revision.config.logging.level.upper())

    async def aclose(self) -> None:
        """End what still runs, and close every connection."""
        if self.journal is not None:
            await self.journal.aclose()
        await self.coalesce.aclose()
        if self._gathering is not None:
            await self._gathering.aclose()
        await self.sessions.aclose()
        await self.tokenizer.aclose()
        await self.embedder.aclose()
        await self.listing.aclose()
        await self.upstream.aclose()
        await self.provider.aclose()

    def _standing(self) -> Standing:
        return self.overview.standing()

    def _quota(self) -> Quota:
        return Quota(
            lambda: self.config.quota,
            self.clock,
            lambda: self.provider.until_quota_reset(datetime.now(UTC)),
        )

    def _keys(self) -> KeyBoard:
        return KeyBoard(
            self.provider.keys or (),
            self.clock,
            lambda: self.provider.key_rest_seconds(self.config),
            quota_wait=self.quota.wait,
            bus=self.bus,
        )

    def _answers(self) -> MemoryAnswers:
        cache = self.config.cache
        return MemoryAnswers(
            cache.max_entries, cache.max_size_mb * _MIB, self.clock.now, self.counts
        )

    def _journal(self) -> Journal | None:
        if not self.config.journal.enabled:
            return None
        return Journal(lambda: self.config.journal, self.clock, self.counts)

    def _add_gauges(self) -> None:
        for gauge in (
            Gauge(
                "upstream_connections_in_use",
                "Connections that carry a request.",
                lambda: self.connections()[0],
            ),
            Gauge("event_loop_lag_seconds", "Delay of the event loop.", lambda: self.lag.latest),
        ):
            self.metrics.add_gauge(gauge)

    def _known_model(self, short: str) -> bool:
        return full_name(short) in self.listing.known()

    async def _read_models(self) -> list[UpstreamModel]:
        return await self.upstream.models(_MODELS_TIMEOUT_SECONDS)
