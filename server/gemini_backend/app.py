"""The composition root: builds everything, starts it, drains it, stops it.

The only place that knows every part.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini.backend.v1.content_pb2 import Content, Part
from gemini.backend.v1.execute_service_pb2 import EmbedRequest
from gemini_backend.clock import SystemClock
from gemini_backend.config import ConfigError, ConfigStore
from gemini_backend.config.checks import check_exposure
from gemini_backend.config.listen import Listen, parse_listen
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.names import full_name
from gemini_backend.policies.admission import Admission
from gemini_backend.policies.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.breaker import Breaker, by_model, by_model_and_key
from gemini_backend.policies.cache import Cache
from gemini_backend.policies.cache_fill import CacheFill
from gemini_backend.policies.cache_key import run_key
from gemini_backend.policies.chaos import Chaos
from gemini_backend.policies.coalesce import Coalesce
from gemini_backend.policies.concurrency import FixedLimit, GradientLimit
from gemini_backend.policies.deadline import Deadline
from gemini_backend.policies.fallback import Fallback
from gemini_backend.policies.gathering import Gathering
from gemini_backend.policies.hedge import Hedge
from gemini_backend.policies.journal import Journal
from gemini_backend.policies.key_board import KeyBoard
from gemini_backend.policies.keys import Keys
from gemini_backend.policies.prepare import Prepare
from gemini_backend.policies.progress import Progress
from gemini_backend.policies.quota import Quota
from gemini_backend.policies.rate_limit import RateLimit
from gemini_backend.policies.retry import Retry
from gemini_backend.policies.semantic import Semantic
from gemini_backend.policies.unsupported import Unsupported
from gemini_backend.policies.validate import Validate
from gemini_backend.rpc import chain, contract, extensions, server, services
from gemini_backend.rpc.batch import BatchRunner
from gemini_backend.rpc.health import Health
from gemini_backend.rpc.running import Running
from gemini_backend.rpc.servicers import execute
from gemini_backend.rpc.servicers.cache_stats import cache_stats_of
from gemini_backend.rpc.servicers.config import ConfigServicer
from gemini_backend.rpc.servicers.health_status import HealthServicer, UpstreamFacts
from gemini_backend.rpc.servicers.metrics import MetricsServicer
from gemini_backend.rpc.servicers.models import ModelsServicer
from gemini_backend.stores.memory import MemoryAnswers
from gemini_backend.telemetry.access_log import AccessLog
from gemini_backend.telemetry.cache_counts import CacheCounts
from gemini_backend.telemetry.condition import ConditionReporter
from gemini_backend.telemetry.events import Listeners
from gemini_backend.telemetry.lifecycle import Addresses, Lifecycle
from gemini_backend.telemetry.metrics import Gauge, Metrics
from gemini_backend.telemetry.process import LoopLag, Process
from gemini_backend.telemetry.tracing import Tracing, tracing_wanted
from gemini_backend.upstream.factory import gemini_options
from gemini_backend.upstream.gemini import GeminiUpstream
from gemini_backend.upstream.gemini.failures import until_midnight_pacific
from gemini_backend.upstream.gemini.keys import keys_of
from gemini_backend.web.listener import WebListener
from gemini_backend.web.site import site_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import grpc

    from gemini.backend.v1.execute_service_pb2 import EmbedResponse
    from gemini.backend.v1.metrics_service_pb2 import GetCacheStatsResponse
    from gemini_backend.call import Call
    from gemini_backend.config import Config, Settings
    from gemini_backend.models.listing import UpstreamModel
    from gemini_backend.telemetry.lines import LineWriter
    from gemini_backend.upstream.simulator import Simulator

_MODELS_TIMEOUT_SECONDS = 20.0
# for those that were cut short to hear why
_LAST_WORDS_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Ready:
    """Where the ports are, once all of them are open."""

    grpc: Listen
    web: Listen | None

    def __str__(self) -> str:
        """Return the ready line."""
        web = f" web={self.web}" if self.web else ""
        return f"ready grpc={self.grpc}{web}"


class Backend:
    """The whole service in one process."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        lines: LineWriter,
        simulator: Simulator | None = None,
    ) -> None:
        """Put everything together; nothing is opened yet.

        Args:
            settings: The configuration as it was read.
            environ: Environment variables; the OTEL_* ones are read from here.
            lines: Where log lines go.
            simulator: The upstream to use in place of Gemini, already started.

        Raises:
            ConfigError: the configuration cannot be carried out.
        """
        check_exposure(settings.config)
        self.clock = SystemClock()
        self.store = ConfigStore(settings)
        self.simulator = simulator
        self.metrics = Metrics(
            self.clock, services.streaming_by_method(contract.SERVICES), self._known_model
        )
        gemini = self.config.upstream.gemini
        options = gemini_options(self.config, simulator)
        self.quota = self._quota()
        self.keys = self._keys(options.api_keys)
        self.upstream = GeminiUpstream(options, self.clock, board=self.keys)
        refresh = gemini.models_refresh_seconds
        self.listing = ModelListing(self._read_models, self.clock, refresh)
        traced = tracing_wanted(self.config.tracing.enabled, environ)
        self.tracing = Tracing(environ) if traced else None
        self.running = Running()
        self.lifecycle = Lifecycle()
        self.reporter = ConditionReporter(
            self.metrics, self.lifecycle, self.listing, refresh, clock=self.clock
        )
        self.lag = LoopLag(self.clock)
        self._add_gauges()
        self.counts = CacheCounts()
        self.answers = self._answers()
        self.semantic = self._semantic()
        self.coalesce = Coalesce(lambda: self.config.coalesce, self.clock, self.counts)
        self.journal = self._journal()
        self.web = WebListener(site_of(self.metrics, self.reporter))
        self.chain = extensions.extended(chain.layers(self._parts(lines)), self.config.interceptors)
        self.gathering = Gathering(
            lambda: self.config.embed,
            chain.model_policies(self.chain).unary(self.upstream.embed),
            self.clock,
        )
        self.health = Health([service.full_name for service in contract.SERVICES])
        self._server = self._build_server()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.store.current

    async def start(self) -> Ready:
        """Open all ports, then say where they are.

        Raises:
            OSError: a port cannot be opened.
        """
        port = server.listen(self._server, self.config.server)
        await self._server.start()
        await self.health.start()
        host = parse_listen("server.listen", self.config.server.listen).host
        web = await self.web.start(self.config) if self.config.web.enabled else None
        for background in (self._follow_config(), self.lag.run(), self.listing.keep_fresh()):
            self._tasks.add(asyncio.create_task(background))
        ready = Ready(grpc=Listen(host, port), web=web)
        self.lifecycle.serving(Addresses(str(ready.grpc), str(web or "")))
        return ready

    async def drain(self) -> None:
        """Take nothing new, let running calls end within `server.drain_seconds`, then cancel."""
        self.lifecycle.drain()
        await self.health.drain()
        grace = self.config.server.drain_seconds
        stopping = asyncio.ensure_future(self._server.stop(grace + _LAST_WORDS_SECONDS))
        try:
            await asyncio.wait({stopping}, timeout=grace)
            self.running.cut_short()
            await stopping
        finally:
            stopping.cancel()

    async def aclose(self) -> None:
        """End whatever still runs, at once, and close every connection."""
        await self._server.stop(0)
        if self.journal is not None:
            await self.journal.aclose()
        await self.coalesce.aclose()
        await self.gathering.aclose()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.web.aclose()
        await self.listing.aclose()
        await self.upstream.aclose()
        if self.simulator is not None:
            await self.simulator.aclose()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    def _quota(self) -> Quota:
        return Quota(
            lambda: self.config.quota,
            self.clock,
            lambda: until_midnight_pacific(datetime.now(UTC)),
        )

    def _keys(self, texts: Sequence[str]) -> KeyBoard:
        projects = self.config.upstream.gemini.key_projects if self.simulator is None else ()
        return KeyBoard(
            keys_of(texts, projects),
            self.clock,
            lambda: self.config.upstream.gemini.invalid_key_seconds,
            quota_wait=self.quota.wait,
        )

    def _answers(self) -> MemoryAnswers:
        cache = self.config.cache
        bound = cache.max_size_mb * server.MIB
        return MemoryAnswers(cache.max_entries, bound, self.clock.now, self.counts)

    def _semantic(self) -> Semantic | None:
        options = self.config.semantic_cache
        if not options.enabled:
            return None
        try:
            from gemini_backend.stores.vectors import Vectors  # noqa: PLC0415 - numpy, an extra
        except ImportError:
            raise ConfigError.at(
                "semantic_cache.enabled needs numpy; install gemini-backend[semantic-cache]",
                "semantic_cache.enabled",
            ) from None
        return Semantic(
            lambda: self.config.semantic_cache,
            lambda: self.config.cache,
            self.answers,
            Vectors(options.dimensions, options.max_entries),
            self._vector_of,
            clock=self.clock,
            counts=CacheCounts(),
        )

    async def _vector_of(self, call: Call, text: str) -> Sequence[float]:
        """Embed a text for the semantic cache, whatever the call itself is for."""
        options = self.config.semantic_cache
        request = EmbedRequest(
            model=full_name(options.model or self.config.embed.model),
            contents=[Content(parts=[Part(text=text)])],
            task_type="SEMANTIC_SIMILARITY",
            output_dimensionality=options.dimensions,
        )
        response = await self.gathering.embed(call, request)
        return response.embeddings[0].values

    def _journal(self) -> Journal | None:
        if not self.config.journal.enabled:
            return None
        return Journal(lambda: self.config.journal, self.clock, self.counts)

    def _parts(self, lines: LineWriter) -> chain.Parts:
        clock, store = self.clock, self.store
        return chain.Parts(
            clock=clock,
            idempotent=services.idempotent_methods(contract.SERVICES),
            tracing=self.tracing.interceptor if self.tracing else None,
            running=self.running,
            metrics=self.metrics,
            access_log=AccessLog(
                clock, lambda: store.current.logging.access, lines, self.config.logging.format
            ),
            deadline=Deadline(lambda: store.current.execution, clock),
            validate=Validate(),
            journal=self.journal,
            cache=Cache(lambda: store.current.cache, self.answers, clock, self.counts),
            semantic_cache=self.semantic,
            coalesce=self.coalesce,
            cache_fill=CacheFill(lambda: store.current.cache, self.answers, clock),
            progress=Progress(clock, Listeners([self.metrics])),
            unsupported=Unsupported(resumable=self.journal is not None),
            prepare=Prepare(lambda: store.current.execution.default_model),
            rate_limit=RateLimit(lambda: store.current.rate_limit, clock),
            fallback=Fallback(lambda: store.current.fallback, clock),
            hedge=Hedge(lambda: store.current.hedge, clock),
            retry=Retry(lambda: store.current.retry, clock, random.Random()),  # noqa: S311
            keys=Keys(self.keys),
            breaker=Breaker(
                lambda: store.current.breaker,
                clock,
                by_model_and_key if len(self.keys) > 1 else by_model,
            ),
            quota=self.quota,
            admission=Admission(
                lambda: store.current.admission,
                clock,
                (GradientLimit if self.config.admission.adaptive else FixedLimit)(
                    lambda: store.current.admission
                ),
            ),
            attempt_timeouts=AttemptTimeouts(lambda: store.current.execution, clock),
            chaos=Chaos(lambda: store.current.chaos.rules, clock, random.Random())  # noqa: S311
            if self.config.chaos.enabled
            else None,
        )

    def _build_server(self) -> grpc.aio.Server:
        options = self.config.server
        servicers = {
            "ExecuteService": execute.ExecuteServicer(
                self.upstream,
                self.clock,
                lambda: self.config.execution.default_model,
                self._batch(),
                self._embed,
            ),
            "ModelService": ModelsServicer(self.listing, time.time),
            "MetricsService": MetricsServicer(
                self.metrics,
                Process(self.clock, self.lag),
                self._connections,
                self.lifecycle,
                cache_stats=self._cache_stats,
                clock=self.clock,
                wall=time.time,
            ),
            "HealthService": HealthServicer(
                self.reporter,
                self.lifecycle,
                self.metrics,
                self.store,
                upstream=self._upstream_facts(),
                listing=self.listing,
                layers=self.chain,
                clock=self.clock,
                wall=time.time,
            ),
            "ConfigService": ConfigServicer(self.store, self.lifecycle),
        }
        handlers = [
            services.handlers_of(
                service,
                servicers.get(service.name),
                options.max_message_mb * server.MIB,
                execute.READ_AS if service.name == "ExecuteService" else None,
            )
            for service in contract.SERVICES
        ]
        built = server.build_server(options, chain.interceptors(self.chain), handlers)
        self.health.mount(built)
        if options.reflection:
            contract.mount_reflection(built)
        if options.channelz:
            contract.mount_channelz(built)
        return built

    def _batch(self) -> BatchRunner:
        return BatchRunner(
            chain.execution_policies(self.chain).unary(self.upstream.process),
            lambda: self.config.execution.batch_concurrency,
            lambda call, item: run_key(call, item) if self.coalesce.shares(item) else None,
        )

    async def _embed(self, call: Call, request: EmbedRequest) -> EmbedResponse:
        request.model = call.model = full_name(request.model or self.config.embed.model)
        return await self.gathering.embed(call, request)

    def _connections(self) -> tuple[int, int]:
        return self.upstream.connections(), self.config.upstream.gemini.max_connections

    def _upstream_facts(self) -> UpstreamFacts:
        options = self.upstream.options
        provider = "gemini" if self.simulator is None else "simulator"
        keys = len(options.api_keys) if self.simulator is None else 0
        return UpstreamFacts(provider, options.base_url, options.api_version, keys)

    def _add_gauges(self) -> None:
        self.metrics.add_gauge(
            Gauge(
                "upstream_connections_in_use",
                "Connections that carry a request.",
                lambda: self._connections()[0],
            )
        )
        self.metrics.add_gauge(
            Gauge("event_loop_lag_seconds", "How late the event loop is.", lambda: self.lag.latest)
        )

    def _cache_stats(self) -> GetCacheStatsResponse:
        enabled = self.config.cache.mode != "off"
        return cache_stats_of(
            self.counts, self.answers, self.semantic, enabled=enabled, wall=time.time()
        )

    def _known_model(self, short: str) -> bool:
        return full_name(short) in self.listing.known()

    async def _read_models(self) -> list[UpstreamModel]:
        return await self.upstream.models(_MODELS_TIMEOUT_SECONDS)

    async def _follow_config(self) -> None:
        """Carry live changes to the parts that do not look them up by themselves."""
        async for revision in self.store.subscribe():
            merge = revision.config.execution.merge_deltas
            self.upstream.options = replace(self.upstream.options, merge_deltas=merge)
            logging.getLogger().setLevel(revision.config.logging.level.upper())
