"""The layers of the chain, made from the configuration and what outlives a call."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from gemini_backend.api.overview import Overview
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.attempts.breaker import Breaker, by_model, by_model_and_key
from gemini_backend.policies.attempts.chaos import Chaos
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedge import Hedge
from gemini_backend.policies.attempts.key_selection import Keys
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import Cache
from gemini_backend.policies.checks.deadline import Deadline
from gemini_backend.policies.checks.model_check import Capability
from gemini_backend.policies.checks.model_default import Prepare
from gemini_backend.policies.checks.unsupported import Unsupported
from gemini_backend.policies.checks.validate import Validate
from gemini_backend.policies.conversations.context import Context
from gemini_backend.policies.conversations.fit_context import Overflow
from gemini_backend.policies.conversations.session import Session
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit, GradientLimit
from gemini_backend.policies.flow.rate_limit import RateLimit
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.outcome.execution_events import Progress
from gemini_backend.rpc import chain, extensions
from gemini_backend.telemetry.logs.access_log import AccessLog

if TYPE_CHECKING:
    import grpc

    from gemini_backend.api.in_flight import Running
    from gemini_backend.composition.state import State
    from gemini_backend.config.sections.flow import AdmissionOptions
    from gemini_backend.telemetry.logs.log_writer import LineWriter


def layers_of(
    state: State,
    running: Running,
    tracing: grpc.aio.ServerInterceptor | None,
    lines: LineWriter,
) -> list[chain.Layer]:
    """Return the chain as it is configured, an operator's own layers in their places.

    Raises:
        ConfigError: one of those cannot be had.
    """
    parts = _parts(state, running, tracing, lines)
    state.watch(_overview(state, parts))
    return extensions.extended(chain.layers(parts), state.config.interceptors)


def _parts(
    state: State,
    running: Running,
    tracing: grpc.aio.ServerInterceptor | None,
    lines: LineWriter,
) -> chain.Parts:
    clock, store, config = state.clock, state.store, state.config
    capability = Capability(lambda: store.current.models, state.registry, state.bus)
    progress = Progress(clock, state.bus, lambda: store.current.execution.max_event_bytes)
    return chain.Parts(
        clock=clock,
        tracing=tracing,
        running=running,
        metrics=state.metrics,
        access_log=AccessLog(
            clock, lambda: store.current.logging.access, lines, config.logging.format
        ),
        deadline=Deadline(lambda: store.current.execution, clock),
        validate=Validate(),
        journal=state.journal,
        progress=progress,
        pricing=state.pricing,
        capability=capability,
        unsupported=Unsupported(resumable=state.journal is not None),
        session=_session(state, progress),
        prepare=Prepare(
            lambda: store.current.execution.default_model, state.upstream.objection, state.bus
        ),
        rate_limit=RateLimit(lambda: store.current.rate_limit, clock),
        cache=Cache(lambda: store.current.cache, state.answers, clock, state.counts),
        semantic_cache=state.semantic,
        coalesce=state.coalesce,
        cache_fill=CacheFill(lambda: store.current.cache, state.answers, clock),
        fallback=Fallback(lambda: store.current.fallback, clock, capability.judge, state.bus),
        context=Context(lambda: store.current.tokens, state.registry.limits, state.counter),
        continuation=_continuation(state),
        hedge=Hedge(lambda: store.current.hedge, clock, state.bus),
        retry=Retry(lambda: store.current.retry, clock, random.Random(), bus=state.bus),  # noqa: S311
        keys=None if state.provider.keys is None else Keys(state.keys),
        breaker=_breaker(state),
        quota=state.quota,
        admission=_admission(state),
        attempt_timeouts=AttemptTimeouts(lambda: store.current.execution, clock),
        chaos=Chaos(lambda: store.current.chaos.rules, clock, random.Random())  # noqa: S311
        if config.chaos.enabled
        else None,
    )


def _continuation(state: State) -> Continuation:
    registry = state.registry
    return Continuation(lambda: state.config.execution, registry.output_limits, registry.now)


def _breaker(state: State) -> Breaker:
    key = by_model_and_key if len(state.keys) > 1 else by_model
    return Breaker(lambda: state.config.breaker, state.clock, key, state.bus)


def _admission(state: State) -> Admission:
    def options() -> AdmissionOptions:
        return state.config.admission

    limit = GradientLimit if options().adaptive else FixedLimit
    return Admission(options, state.clock, limit(options), state.bus)


def _overview(state: State, parts: chain.Parts) -> Overview:
    return Overview(
        rate_limit=parts.rate_limit,
        fallback=parts.fallback,
        continuation=parts.continuation,
        hedge=parts.hedge,
        retry=parts.retry,
        breaker=parts.breaker,
        quota=parts.quota,
        admission=parts.admission,
        coalesce=parts.coalesce,
        journal=parts.journal,
        keys=state.keys,
        answers=state.answers,
        counts=state.counts,
        semantic=parts.semantic_cache,
        caching=state.caches,
    )


def _session(state: State, progress: Progress) -> Session:
    overflow = Overflow(
        state.registry.limits,
        state.counter.contents,
        lambda: state.config.execution.default_model,
        lambda: state.config.sessions.overflow,
    )
    return Session(state.sessions.books, overflow, progress, state.clock)
