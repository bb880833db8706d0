"""Layers that take more than their options to make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.memory import Purpose
from gemini_backend.policies.attempts.breaker import Breaker, by_model, by_model_and_key
from gemini_backend.policies.attempts.chaos import Chaos
from gemini_backend.policies.conversations.fit_context import FitContext
from gemini_backend.policies.conversations.session import Session
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit, GradientLimit
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import SingleFlight

if TYPE_CHECKING:
    from gemini_backend.composition.foundation import Foundation
    from gemini_backend.composition.model_access import ModelAccess
    from gemini_backend.composition.storage import Storage
    from gemini_backend.config.sections.flow import AdmissionOptions
    from gemini_backend.policies.relay import Hook


def journal_of(base: Foundation, kept: Storage) -> Journal | None:
    """Return the journal; None where it is off."""
    if not base.config.journal.enabled:
        return None
    options, memory = (lambda: base.store.current.journal), base.memory
    return Journal(options, base.clock, base.bus, kept.executions, memory)


def single_flight_of(base: Foundation) -> SingleFlight:
    """Return the layer of shared runs; what it keeps for their followers is counted."""
    grow = base.memory.account(Purpose.ANSWERS).change
    return SingleFlight(lambda: base.store.current.coalesce, base.clock, base.bus, grow)


def session_of(base: Foundation, access: ModelAccess, kept: Storage, progress: Hook) -> Session:
    """Return the layer of sessions; executions that summarize pass `progress` as well."""
    store = base.store
    overflow = FitContext(
        access.registry.limits,
        access.counter.contents,
        lambda: store.current.execution.default_model,
        lambda: store.current.sessions.overflow,
    )
    return Session(kept.sessions.context, overflow, progress, base.clock)


def continuation_of(base: Foundation, access: ModelAccess) -> Continuation:
    """Return the layer of long answers."""
    registry = access.registry
    return Continuation(lambda: base.store.current.execution, registry.output_limits, registry.now)


def breaker_of(base: Foundation, access: ModelAccess) -> Breaker:
    """Return the circuit breakers: by model, with several keys by model and key."""
    key = by_model_and_key if len(access.keys) > 1 else by_model
    return Breaker(lambda: base.store.current.breaker, base.clock, key, base.bus)


def admission_of(base: Foundation) -> Admission:
    """Return the queue before the upstream; which kind of limit it has is fixed at the start."""

    def options() -> AdmissionOptions:
        return base.store.current.admission

    limit = GradientLimit if options().adaptive else FixedLimit
    return Admission(options, base.clock, limit(options), base.bus)


def chaos_of(base: Foundation) -> Chaos | None:
    """Return the faults on purpose; None where they are off."""
    if not base.config.chaos.enabled:
        return None
    return Chaos(lambda: base.store.current.chaos.rules, base.clock, base.random)
