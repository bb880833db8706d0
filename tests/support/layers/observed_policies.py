"""Policies over a clock that a test moves, and the overview of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini_backend.api.overview import Overview
from gemini_backend.call import UpstreamKey
from gemini_backend.config import read
from gemini_backend.policies.attempts.breaker import Breaker
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.chain import Chain, Scope, wrapper
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.flow.rate_limit import RateLimit
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.telemetry.events import SILENT
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts

if TYPE_CHECKING:
    from gemini_backend.policies.cache.semantic import SemanticCache
    from gemini_backend.telemetry.events import Publisher
    from tests.support.clock import FakeClock


def overview_of(
    clock: FakeClock,
    bus: Publisher = SILENT,
    semantic: SemanticCache | None = None,
    **settings: str,
) -> Overview:
    """Return policies with these settings, `SECTION__FIELD="value"`, and the overview of them."""
    config = read(
        None, {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
    ).config
    counts = CacheCounts()
    limit = FixedLimit(lambda: config.admission)
    policies = (
        RateLimit(lambda: config.rate_limit, clock),
        Fallback(lambda: config.fallback, clock),
        Continuation(lambda: config.execution, lambda _: (0, 0), lambda: datetime.now(UTC)),
        Hedge(lambda: config.hedge, clock),
        Retry(lambda: config.retry, clock, random.Random(0)),
        Breaker(lambda: config.breaker, clock, bus=bus),
        Admission(lambda: config.admission, clock, limit, bus),
        SingleFlight(lambda: config.coalesce, clock, bus),
        Journal(lambda: config.journal, clock, bus),
        Quota(lambda: config.quota, clock, lambda: 3600.0),
    )
    overview = Overview(
        Chain([wrapper(type(one).__name__, Scope.EXECUTION, one) for one in policies]),
        KeyPool([UpstreamKey("k0", "p")], clock, lambda: 60.0, bus=bus),
        MemoryAnswers(10, 10_000, clock.now),
        counts,
        lambda: True,
    )
    overview.semantic = semantic
    return overview
