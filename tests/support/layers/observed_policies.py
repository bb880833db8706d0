"""Policies over a clock that a test moves, and the overview of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gemini_backend.api.overview import Overview
from gemini_backend.call import UpstreamKey
from gemini_backend.config import read
from gemini_backend.policies.attempts.breaker import Breaker
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedge import Hedge
from gemini_backend.policies.attempts.key_pool import KeyBoard
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.flow.rate_limit import RateLimit
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.single_flight import Coalesce
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.telemetry.events import SILENT
from gemini_backend.telemetry.metrics.cache_counts import CacheCounts

if TYPE_CHECKING:
    from gemini_backend.policies.cache.semantic import Semantic
    from gemini_backend.telemetry.events import Publisher
    from tests.support.clock import FakeClock


def overview_of(
    clock: FakeClock,
    bus: Publisher = SILENT,
    semantic: Semantic | None = None,
    **settings: str,
) -> Overview:
    """Return policies with these settings, `SECTION__FIELD="value"`, and the overview of them."""
    config = read(
        None, {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
    ).config
    counts = CacheCounts()
    quota = Quota(lambda: config.quota, clock, lambda: 3600.0)
    limit = FixedLimit(lambda: config.admission)
    parts: dict[str, Any] = {
        "rate_limit": RateLimit(lambda: config.rate_limit, clock),
        "fallback": Fallback(lambda: config.fallback, clock),
        "continuation": Continuation(
            lambda: config.execution, lambda _: (0, 0), lambda: datetime.now(UTC)
        ),
        "hedge": Hedge(lambda: config.hedge, clock),
        "retry": Retry(lambda: config.retry, clock, random.Random(0)),
        "breaker": Breaker(lambda: config.breaker, clock, bus=bus),
        "admission": Admission(lambda: config.admission, clock, limit, bus),
        "coalesce": Coalesce(lambda: config.coalesce, clock, counts),
        "journal": Journal(lambda: config.journal, clock, counts),
    }
    return Overview(
        **parts,
        quota=quota,
        keys=KeyBoard([UpstreamKey(0, "k0", "p")], clock, lambda: 60.0, bus=bus),
        answers=MemoryAnswers(10, 10_000, clock.now, counts),
        counts=counts,
        semantic=semantic,
        caching=lambda: True,
    )
