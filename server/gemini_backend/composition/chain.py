"""The chain: one row per layer, in order, outermost first. The order is the architecture.

What a row reads and writes is held against the order by `tests/composition/test_chain_order.py`:
what comes from further out is written there, what comes from further in is written there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.composition.layer_parts import (
    admission_of,
    breaker_of,
    chaos_of,
    continuation_of,
    journal_of,
    session_of,
    single_flight_of,
)
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from gemini_backend.policies.attempts.key_selection import KeySelection
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import CacheLookup
from gemini_backend.policies.chain import Scope, hook, transport, wrapper
from gemini_backend.policies.checks.allowed_models import AllowedModels, refuse_forbidden
from gemini_backend.policies.checks.deadline import Deadline
from gemini_backend.policies.checks.model_check import ModelCheck
from gemini_backend.policies.checks.model_default import ModelDefault
from gemini_backend.policies.checks.unsupported import Unsupported
from gemini_backend.policies.checks.validate import Validate
from gemini_backend.policies.conversations.context import Context
from gemini_backend.policies.flow.rate_limit import RateLimit
from gemini_backend.policies.outcome.execution_events import ExecutionEvents

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini.backend.v1.execute_service_pb2 import Warning as WarningMessage
    from gemini_backend.call import Call
    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.composition.model_access import ModelAccess
    from gemini_backend.composition.parts import Parts
    from gemini_backend.policies.cache.semantic import SemanticCache
    from gemini_backend.policies.chain import Layer

_RPC, _REQUEST, _EXECUTION, _MODEL = Scope.RPC, Scope.REQUEST, Scope.EXECUTION, Scope.MODEL


def transport_layers(tracing: Any, edge: Any) -> list[Layer]:
    """Return what knows the transport: mounted by gRPC's door, left out by others."""
    return [
        # parent of all spans; outside the edge, or it would record OK for failures
        transport("tracing", _RPC, tracing),
        # makes the call; counts and logs it by what the caller sees; ends it with a status
        transport("edge", _RPC, edge),
    ]


def execution_layers(parts: Parts, semantic: SemanticCache | None) -> list[Layer]:
    """Return what a request passes once, whatever attempts it takes."""
    base, access, kept = parts.base, parts.access, parts.kept
    store, clock, registry = base.store, base.clock, access.registry
    journal, budget = journal_of(base, kept), access.attempts
    capability = ModelCheck(lambda: store.current.models, registry, base.bus)

    def stand_in(call: Call, request: Any) -> tuple[Any, Sequence[WarningMessage]]:
        refuse_forbidden(call, request.model)
        return capability.judge(request)

    progress = ExecutionEvents(clock, base.bus, lambda: store.current.execution.max_event_bytes)
    return [
        # nothing waits without an end, and what cannot fit is refused at once
        hook(
            "deadline",
            _RPC,
            Deadline(lambda: store.current.execution, clock),
            reads="call.budget",
            writes="call.budget",
        ),
        # nothing invalid goes further
        hook(
            "validate",
            _REQUEST,
            Validate(clock),
            reads="call.large outcome.sketch",
            writes="outcome.sketch",
        ),
        # no administrative act without its entry; invalid ones are none
        wrapper("audit", Scope.ACT, parts.audit.layer()),
        # keeps what the caller saw, so that it can be resumed; outlives a lost connection
        wrapper(
            "journal",
            _EXECUTION,
            journal,
            reads=(
                "call.budget outcome.awaited outcome.cut_short outcome.keeper answer.execution "
                "answer.sequence answer.timing answer.cost"
            ),
            writes="call.budget outcome.cut_short",
            writes_alone="outcome.pays",
        ),
        # numbers and times what the caller sees, and says how far a failed execution came
        hook(
            "progress",
            _EXECUTION,
            progress,
            reads=(
                "outcome.attempts outcome.cost_nano_usd outcome.first_token outcome.hops "
                "outcome.model outcome.pays outcome.queued_seconds outcome.quota_reason "
                "outcome.quota_seconds outcome.sequence outcome.usage answer.usage"
            ),
            writes=(
                "outcome.cache_status outcome.end outcome.first_token outcome.sequence "
                "outcome.served_model outcome.told outcome.usage answer.execution "
                "answer.sequence answer.timing answer.attempts answer.warnings"
            ),
        ),
        # nothing that was asked for is silently left undone
        hook("unsupported", _EXECUTION, Unsupported(resumable=journal is not None)),
        # a session's new turn becomes the whole conversation; its answer, with its cost, is kept
        wrapper(
            "session",
            _EXECUTION,
            session_of(base, access, kept, progress),
            reads="call.budget call.large outcome.hops outcome.pays answer.cost answer.usage",
            writes="call.large outcome.awaited outcome.queued_seconds answer.warnings",
            writes_alone="outcome.cost_nano_usd outcome.model outcome.pays answer.cost",
        ),
        # the model by its full name, for all that is kept by model
        hook(
            "prepare",
            _EXECUTION,
            ModelDefault(
                lambda: store.current.execution.default_model, access.upstream.objection, base.bus
            ),
            reads="call.large outcome.sketch",
            writes="request.model outcome.model outcome.sketch",
        ),
        # what the model cannot do costs nothing; a model that is gone or about to be is reported
        hook(
            "capability",
            _EXECUTION,
            capability,
            reads="call.large request.model outcome.sketch",
            writes="request.model outcome.model outcome.sketch answer.warnings",
        ),
        # after a model that is gone was replaced; before anything of others could be an answer
        hook(
            "allowed_models",
            _EXECUTION,
            AllowedModels(on=bool(base.config.auth_methods)),
            reads="request.model",
        ),
        # what the caller sees, and what a session keeps, says what it cost
        hook(
            "pricing",
            _EXECUTION,
            access.pricing,
            reads=(
                "request.model outcome.attempts outcome.cost_nano_usd outcome.given outcome.hops "
                "outcome.pays"
            ),
            writes="outcome.cost_nano_usd outcome.spent answer.cost answer.usage",
        ),
        # a principal's own limit; what comes out of the cache counts like the rest
        hook(
            "rate_limit",
            _EXECUTION,
            RateLimit(
                lambda: store.current.rate_limit,
                clock,
                of_principals=lambda: bool(store.current.auth_methods),
            ),
        ),
        # a hit costs no attempt and no slot, and comes though the circuit is open
        wrapper(
            "cache",
            _EXECUTION,
            CacheLookup(lambda: store.current.cache, kept.answers, clock, base.bus),
            reads="call.budget call.large request.model",
            writes_alone="outcome.given outcome.pays answer.cache_status",
        ),
        # what means nearly the same, where nothing is exactly the same
        wrapper(
            "semantic_cache",
            _EXECUTION,
            semantic,
            reads="call.budget call.large request.model",
            writes_alone="outcome.given outcome.pays answer.cache_status",
        ),
        # N identical calls in flight share one run of all that follows
        wrapper(
            "coalesce",
            _EXECUTION,
            single_flight_of(base),
            reads="call.budget call.large request.model outcome.cut_short outcome.pays",
            writes="outcome.keeper outcome.shared",
            writes_alone=(
                "outcome.attempts outcome.hops outcome.pays outcome.queued_seconds "
                "outcome.trailers answer.cache_status"
            ),
        ),
        # writes the cache once per run, outside of whatever repeats attempts
        hook(
            "cache_fill",
            _EXECUTION,
            CacheFill(lambda: store.current.cache, kept.answers, clock),
            reads="call.large request.model",
        ),
        # the next model in line, when everything further in has failed
        wrapper(
            "fallback",
            _EXECUTION,
            Fallback(lambda: store.current.fallback, clock, stand_in, base.bus, budget),
            reads="call.attempts call.budget request.model",
            writes="request.model outcome.attempts answer.warnings",
        ),
        # what is too long for its model is refused or truncated; the next in line may take more
        wrapper(
            "context",
            _EXECUTION,
            Context(lambda: store.current.tokens, registry.limits, access.counter),
            reads="call.large request.model",
            writes="answer.warnings",
        ),
        # an answer of several hops is one answer; each hop has attempts of its own
        wrapper(
            "continuation",
            _EXECUTION,
            continuation_of(base, access),
            reads="call.bound_to call.budget request.model outcome.attempts",
            writes="call.attempts call.bound_to outcome.hops answer.usage",
        ),
        # a second attempt beside a slow one; each side has tries of its own
        wrapper("hedge", _EXECUTION, Hedge(lambda: store.current.hedge, clock, base.bus, budget)),
    ]


def attempt_layers(base: Foundation, access: ModelAccess) -> list[Layer]:
    """Return what each attempt at a model passes, of an execution or of embeddings."""
    store, clock, budget = base.store, base.clock, access.attempts
    return [
        # before the first event only; each try passes all that follows
        wrapper(
            "retry",
            _MODEL,
            Retry(lambda: store.current.retry, clock, base.random, bus=base.bus, budget=budget),
            reads="call.attempts call.budget",
            writes="outcome.queued_seconds outcome.quota_reason outcome.quota_seconds",
        ),
        # each try goes out with the key that suits it best, and at once with another one
        wrapper(
            "keys",
            _MODEL,
            None if access.provider.keys is None else KeySelection(access.keys, budget),
            reads="call.attempts call.bound_to request.model",
        ),
        # fails fast, before anything waits
        hook(
            "breaker",
            _MODEL,
            breaker_of(base, access),
            reads="request.model outcome.queued_seconds",
        ),
        # the upstream's quota is waited for without a slot
        hook(
            "quota",
            _MODEL,
            access.quota,
            reads="call.budget request.model",
            writes="outcome.queued_seconds outcome.quota_reason outcome.quota_seconds",
        ),
        # a slot, held until the stream ends; none is held between tries
        hook(
            "admission",
            _MODEL,
            admission_of(base),
            reads="call.budget outcome.queued_seconds",
            writes="outcome.queued_seconds",
        ),
        # an attempt comes out of the budget, and may not hang: first token, silence, deadline
        hook(
            "attempt_timeouts",
            _MODEL,
            AttemptTimeouts(lambda: store.current.execution, clock, budget),
            reads="call.attempts call.budget",
        ),
        # innermost, so that drills run the real chain
        hook("chaos", _MODEL, chaos_of(base)),
    ]
