"""The gRPC server: each service of the contract, behind the chain."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gemini_backend.api import execute
from gemini_backend.api.batch import BatchRunner
from gemini_backend.api.config import ConfigServicer
from gemini_backend.api.health import HealthServicer
from gemini_backend.api.metrics import MetricsServicer
from gemini_backend.api.models import ModelsServicer
from gemini_backend.api.sessions import SessionServicer
from gemini_backend.api.token_count import TokenCount
from gemini_backend.policies.cache.key import run_key
from gemini_backend.rpc import chain, contract, handlers, server
from gemini_backend.telemetry.metrics.process import Process

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

    from gemini_backend.composition.state import State
    from gemini_backend.rpc.chain import Layer
    from gemini_backend.rpc.standard_health import Health


def grpc_server(state: State, layers: Sequence[Layer], health: Health) -> grpc.aio.Server:
    """Return the server with every service mounted; no port is open yet."""
    options = state.config.server
    servicers = _servicers(state, layers)
    mounted = [
        handlers.handlers_of(
            service,
            servicers.get(service.name),
            options.max_message_mb * server.MIB,
            execute.READ_AS if service.name == "ExecuteService" else None,
        )
        for service in contract.SERVICES
    ]
    built = server.build_server(options, chain.interceptors(layers), mounted)
    health.mount(built)
    if options.reflection:
        contract.mount_reflection(built)
    if options.channelz:
        contract.mount_channelz(built)
    return built


def _servicers(state: State, layers: Sequence[Layer]) -> dict[str, Any]:
    return {
        "ExecuteService": execute.ExecuteServicer(
            state.upstream,
            lambda: state.config.execution.default_model,
            _batch(state, layers),
            state.embed,
            TokenCount(
                lambda: state.config.tokens,
                state.upstream.count_tokens,
                state.counter,
                state.sessions.books,
                state.clock,
            ),
        ),
        "ModelService": ModelsServicer(state.registry, state.listing, state.seen, time.time),
        "MetricsService": MetricsServicer(
            state.metrics,
            Process(state.clock, state.lag),
            state.connections,
            state.lifecycle,
            overview=state.overview,
            cache_stats=state.cache_stats,
            cost=lambda: state.paid.cost_nano_usd,
            clock=state.clock,
            wall=time.time,
        ),
        "HealthService": HealthServicer(
            state.reporter,
            state.lifecycle,
            state.metrics,
            state.store,
            upstream=state.provider.facts,
            listing=state.listing,
            layers=layers,
            clock=state.clock,
            wall=time.time,
        ),
        "SessionService": SessionServicer(state.sessions.books),
        "ConfigService": ConfigServicer(state.store, state.lifecycle),
    }


def _batch(state: State, layers: Sequence[Layer]) -> BatchRunner:
    coalesce = state.coalesce
    return BatchRunner(
        chain.execution_policies(layers).unary(state.upstream.process),
        lambda: state.config.execution.batch_concurrency,
        # each item of a session is a turn of its own
        lambda call, item: (
            run_key(call, item) if not item.session and coalesce.shares(item) else None
        ),
    )
