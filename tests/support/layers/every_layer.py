"""Every layer that stands round an execution, made by itself, with what it leaves behind."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING, Any

from gemini_backend.call import UpstreamKey
from gemini_backend.config.sections.answers import CacheOptions, CoalesceOptions, JournalOptions
from gemini_backend.config.sections.embed import SemanticCacheOptions
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.config.sections.flow import AdmissionOptions, QuotaOptions, RateLimitOptions
from gemini_backend.config.sections.models import ModelsOptions
from gemini_backend.config.sections.resilience import (
    BreakerOptions,
    FallbackOptions,
    HedgeOptions,
    RetryOptions,
)
from gemini_backend.config.sections.tokens import TokensOptions
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.registry import Registry
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.attempts.breaker import Breaker
from gemini_backend.policies.attempts.chaos import Chaos
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.policies.attempts.key_selection import KeySelection
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import CacheLookup
from gemini_backend.policies.cache.semantic import SemanticCache
from gemini_backend.policies.checks.deadline import Deadline
from gemini_backend.policies.checks.model_check import ModelCheck
from gemini_backend.policies.checks.model_default import ModelDefault
from gemini_backend.policies.checks.unsupported import Unsupported
from gemini_backend.policies.checks.validate import Validate
from gemini_backend.policies.conversations.context import Context
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.flow.rate_limit import RateLimit
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.processing.tokens.counting import TokenCounter
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.stores.vectors import Vectors
from gemini_backend.telemetry.events import SILENT
from tests.support.composed import built_in_chain, composed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

HEDGE_SECONDS, FIRST_TOKEN_SECONDS = 5.0, 10.0
NOW = datetime(2026, 11, 23, tzinfo=UTC)
CATALOGUE = load()


# tracing and the edge know gRPC; no execution is audited; sessions need a store and have pairs of
# their own
ELSEWHERE = {"tracing", "edge", "audit", "session"}
# every layer that tests put beside others, outermost first: a new one joins by itself
NAMES = [row.name for row in built_in_chain() if row.name not in ELSEWHERE]


class World:
    """What layers share, and the layers by name, outermost first."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.store = MemoryAnswers(100, 1_000_000, clock.now)
        self.registry = Registry(CATALOGUE, ModelListing(_nobody, clock, 100), NOW.timestamp)
        self.key_pool = KeyPool([UpstreamKey(f"k{n}", f"p{n}") for n in (0, 1)], clock, lambda: 300)
        self.made: dict[str, Any] = {}

    def layer(self, name: str) -> Any:
        """Make the layer of this name, once: its own way, or as the product does by default."""
        if name not in self.made:
            make = LAYERS.get(name, _by_default(name))
            self.made[name] = make(self)
        return self.made[name]

    def left_behind(self) -> list[str]:
        """Return what is still held, by the layers that have been made, when no call runs."""
        made = self.made
        held = {
            "coalesce": lambda one: one.running,
            "admission": lambda one: one.running,
            "quota": lambda one: one.waiting,
            "keys": lambda _: sum(key.in_flight for key in self.key_pool.states()),
            "journal": lambda one: len(one.store._running),
        }
        return [name for name, count in held.items() if name in made and count(made[name])]


def _by_default(name: str) -> Callable[[World], Any]:
    def make(world: World) -> Any:
        _, assembly = composed(world.clock)
        return next(row.layer for row in assembly.chain if row.name == name)

    return make


async def _nobody() -> list[Any]:
    return []


async def _same_vector(_call: Call, _text: str) -> list[float]:
    return [1.0, 0.0]


def _semantic(world: World) -> SemanticCache:
    options = SemanticCacheOptions(enabled=True)
    cache = CacheOptions()
    return SemanticCache(
        lambda: options,
        lambda: cache,
        world.store,
        Vectors(2, 100),
        _same_vector,
        clock=world.clock,
    )


def _retry(world: World) -> Retry:
    options = RetryOptions(initial_delay_ms=100, max_attempts=3)
    return Retry(lambda: options, world.clock, Random(1))


def _hedge(world: World) -> Hedge:
    options = HedgeOptions(enabled=True, delay_ms=HEDGE_SECONDS * 1000, budget_ratio=1)
    return Hedge(lambda: options, world.clock)


def _admission(world: World) -> Admission:
    options = AdmissionOptions(max_concurrent_requests=2)
    return Admission(lambda: options, world.clock, FixedLimit(lambda: options))


def _timeouts(world: World) -> AttemptTimeouts:
    options = ExecutionOptions(first_token_timeout_seconds=FIRST_TOKEN_SECONDS)
    return AttemptTimeouts(lambda: options, world.clock)


# never asked for anything: nothing here is near its limit
_COUNTER = TokenCounter(None, lambda name: name)  # type: ignore[arg-type]

LAYERS: dict[str, Callable[[World], Any]] = {
    "deadline": lambda w: Deadline(ExecutionOptions, w.clock),
    "validate": lambda _: Validate(),
    "journal": lambda w: Journal(JournalOptions, w.clock),
    "progress": lambda w: ExecutionEvents(w.clock, SILENT),
    "unsupported": lambda _: Unsupported(resumable=True),
    "prepare": lambda _: ModelDefault(lambda: "models/a"),
    "capability": lambda w: ModelCheck(ModelsOptions, w.registry),
    "pricing": lambda w: Pricing(w.registry),
    "rate_limit": lambda w: RateLimit(lambda: RateLimitOptions(tokens_per_minute=9999), w.clock),
    "cache": lambda w: CacheLookup(CacheOptions, w.store, w.clock),
    "semantic_cache": _semantic,
    "coalesce": lambda w: SingleFlight(CoalesceOptions, w.clock),
    "cache_fill": lambda w: CacheFill(CacheOptions, w.store, w.clock),
    "fallback": lambda w: Fallback(lambda: FallbackOptions(models=("b",)), w.clock),
    "context": lambda w: Context(TokensOptions, lambda _: (9999, 99), _COUNTER),
    "continuation": lambda w: Continuation(
        ExecutionOptions, w.registry.output_limits, w.registry.now
    ),
    "hedge": _hedge,
    "retry": _retry,
    "keys": lambda w: KeySelection(w.key_pool),
    "breaker": lambda w: Breaker(BreakerOptions, w.clock),
    "quota": lambda w: Quota(lambda: QuotaOptions(tokens_per_minute=9999), w.clock, lambda: 3600),
    "admission": _admission,
    "attempt_timeouts": _timeouts,
    "chaos": lambda w: Chaos(tuple, w.clock, Random(1)),
}
