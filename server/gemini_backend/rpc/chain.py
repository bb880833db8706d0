"""The chain: every layer in its order, outermost first. The order is the architecture.

What has the scope RPC is done once a call. What has the scope EXECUTION stands round executions
only, and is done for each item of a batch too, by the same objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING, cast

import grpc

from gemini_backend.policies.base import Pipeline, Policy
from gemini_backend.rpc.call_factory import EXECUTIONS, CallMaker
from gemini_backend.rpc.interceptors.base import is_ours
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor
from gemini_backend.rpc.interceptors.only import Only
from gemini_backend.rpc.interceptors.policy import PolicyInterceptor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.api.in_flight import Running
    from gemini_backend.clock import Clock
    from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
    from gemini_backend.policies.attempts.breaker import Breaker
    from gemini_backend.policies.attempts.chaos import Chaos
    from gemini_backend.policies.attempts.fallback import Fallback
    from gemini_backend.policies.attempts.hedge import Hedge
    from gemini_backend.policies.attempts.key_selection import Keys
    from gemini_backend.policies.attempts.retry import Retry
    from gemini_backend.policies.cache.fill import CacheFill
    from gemini_backend.policies.cache.lookup import Cache
    from gemini_backend.policies.cache.semantic import Semantic
    from gemini_backend.policies.checks.deadline import Deadline
    from gemini_backend.policies.checks.model_check import Capability
    from gemini_backend.policies.checks.model_default import Prepare
    from gemini_backend.policies.checks.unsupported import Unsupported
    from gemini_backend.policies.checks.validate import Validate
    from gemini_backend.policies.conversations.context import Context
    from gemini_backend.policies.conversations.session import Session
    from gemini_backend.policies.flow.admission import Admission
    from gemini_backend.policies.flow.quota import Quota
    from gemini_backend.policies.flow.rate_limit import RateLimit
    from gemini_backend.policies.long_answers.continuation import Continuation
    from gemini_backend.policies.outcome.execution_events import Progress
    from gemini_backend.policies.outcome.pricing import Pricing
    from gemini_backend.policies.sharing.journal import Journal
    from gemini_backend.policies.sharing.single_flight import Coalesce
    from gemini_backend.rpc.interceptors.edge import RpcMetrics
    from gemini_backend.telemetry.logs.access_log import AccessLog


class Scope(Enum):
    """Which methods a layer stands round."""

    RPC = "every method of the contract"
    EXECUTION = "executions"
    MODEL = "executions, and other calls of a model, such as embeddings"

    def __call__(self, method: str) -> bool:
        """Say whether a method belongs to the scope."""
        return is_ours(method) if self is Scope.RPC else method in EXECUTIONS


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its name in configuration, and what stands there; None when it is left out."""

    name: str
    stands: grpc.aio.ServerInterceptor | Policy | None
    scope: Scope


@dataclass(frozen=True, slots=True)
class Parts:
    """What the layers are made of; None where configuration leaves one out."""

    clock: Clock
    tracing: grpc.aio.ServerInterceptor | None
    running: Running
    metrics: RpcMetrics
    access_log: AccessLog
    deadline: Deadline
    validate: Validate
    journal: Journal | None
    progress: Progress
    unsupported: Unsupported
    session: Session
    prepare: Prepare
    pricing: Pricing
    capability: Capability
    cache: Cache
    semantic_cache: Semantic | None
    coalesce: Coalesce
    cache_fill: CacheFill
    rate_limit: RateLimit
    fallback: Fallback
    context: Context
    continuation: Continuation
    hedge: Hedge
    retry: Retry
    keys: Keys | None
    breaker: Breaker
    quota: Quota
    admission: Admission
    attempt_timeouts: AttemptTimeouts
    chaos: Chaos | None


def layers(parts: Parts) -> list[Layer]:
    """Return the built-in chain."""
    rpc, execution, model = Scope.RPC, Scope.EXECUTION, Scope.MODEL
    return [
        # parent of all spans; outside the errors layer, or it records OK for failures
        Layer("tracing", parts.tracing, rpc),
        # makes the call; counts and logs it by what the caller sees; ends it with a status
        Layer("edge", _edge(parts), rpc),
        # nothing waits without an end, and what cannot fit is refused at once
        Layer("deadline", parts.deadline, rpc),
        # nothing invalid goes further
        Layer("validate", parts.validate, rpc),
        # keeps what the caller saw, so that it can be resumed; outlives a lost connection
        Layer("journal", parts.journal, execution),
        # numbers and times what the caller sees, and says how far a failed execution came
        Layer("progress", parts.progress, execution),
        # what the caller sees says what it cost
        Layer("pricing", parts.pricing, execution),
        # nothing that was asked for is silently left undone
        Layer("unsupported", parts.unsupported, execution),
        # what is asked of a session becomes the whole conversation; its answer is kept
        Layer("session", parts.session, execution),
        # the model by its full name, for all that is kept by model
        Layer("prepare", parts.prepare, execution),
        # what the model cannot do costs nothing; a model that is gone or about to be is told of
        Layer("capability", parts.capability, execution),
        # a principal's own limit; what comes out of the cache counts like the rest
        Layer("rate_limit", parts.rate_limit, execution),
        # a hit costs no attempt and no slot, and comes though the circuit is open
        Layer("cache", parts.cache, execution),
        # what means nearly the same, where nothing is exactly the same
        Layer("semantic_cache", parts.semantic_cache, execution),
        # N identical calls in flight share one run of all that follows
        Layer("coalesce", parts.coalesce, execution),
        # writes the cache once a run, after whatever repeats attempts
        Layer("cache_fill", parts.cache_fill, execution),
        # the next model in line, when all that stands below has failed
        Layer("fallback", parts.fallback, execution),
        # what is too long for its model is refused or truncated; the next in line may take more
        Layer("context", parts.context, execution),
        # an answer of several hops is one answer; each hop has attempts of its own
        Layer("continuation", parts.continuation, execution),
        # a second attempt beside a slow one; each side has tries of its own
        Layer("hedge", parts.hedge, execution),
        # before the first event only; each try passes all that follows
        Layer("retry", parts.retry, model),
        # each try goes out with the key that suits it best, and at once with another one
        Layer("keys", parts.keys, model),
        # fails fast, before anything waits
        Layer("breaker", parts.breaker, model),
        # upstream's quota is waited for without a slot
        Layer("quota", parts.quota, model),
        # a slot, held until the stream ends; none is held between tries
        Layer("admission", parts.admission, model),
        # an attempt may not hang: first token, silence, deadline
        Layer("attempt_timeouts", parts.attempt_timeouts, model),
        # innermost, so that drills run the real chain
        Layer("chaos", parts.chaos, model),
    ]


def _edge(parts: Parts) -> EdgeInterceptor:
    calls = CallMaker(parts.clock)
    return EdgeInterceptor(calls, parts.running, parts.metrics, parts.access_log, parts.clock)


def interceptors(chain: Sequence[Layer]) -> list[grpc.aio.ServerInterceptor]:
    """Return the chain as grpc.aio wants it: neighbouring policies share one adapter."""
    mounted: list[grpc.aio.ServerInterceptor] = []
    present = [layer for layer in chain if layer.stands is not None]
    for is_interceptor, group in groupby(present, _is_interceptor):
        if is_interceptor:
            mounted.extend(_limited(layer) for layer in group)
        else:
            mounted.append(_adapter(list(group)))
    return mounted


def _is_interceptor(layer: Layer) -> bool:
    return isinstance(layer.stands, grpc.aio.ServerInterceptor)


def _limited(layer: Layer) -> grpc.aio.ServerInterceptor:
    """Keep other people's interceptors to their scope; ours know theirs."""
    interceptor = cast("grpc.aio.ServerInterceptor", layer.stands)
    return (
        interceptor if isinstance(interceptor, EdgeInterceptor) else Only(interceptor, layer.scope)
    )


def _adapter(group: Sequence[Layer]) -> PolicyInterceptor:
    def pipeline_for(method: str) -> Pipeline:
        return Pipeline(*(cast("Policy", one.stands) for one in group if one.scope(method)))

    return PolicyInterceptor(pipeline_for)


def execution_policies(chain: Sequence[Layer]) -> Pipeline:
    """Return what stands round one execution that is no RPC, such as an item of a batch."""
    return Pipeline(
        *(
            layer.stands
            for layer in chain
            if (layer.scope is not Scope.RPC or layer.name == "validate")
            and layer.stands is not None
            and not isinstance(layer.stands, grpc.aio.ServerInterceptor)
        )
    )


def model_policies(chain: Sequence[Layer]) -> Pipeline:
    """Return what stands round a call of a model that is no execution."""
    return Pipeline(
        *(
            layer.stands
            for layer in chain
            if layer.scope is Scope.MODEL
            and layer.stands is not None
            and not isinstance(layer.stands, grpc.aio.ServerInterceptor)
        )
    )
