"""What GetCacheStats tells.

Covers: api/messages/token_totals.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.api.messages.cache_stats import cache_stats_of
from gemini_backend.stores.answer_store import StoredAnswer
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_every_figure_is_told(clock: FakeClock) -> None:
    """State of the store, counts, ratio, savings, and the age of the oldest answer."""
    counts = CacheCounts()
    counts.exact.results.update(hit=3, miss=1, stale=1, bypass=2)
    counts.coalesced = 9
    counts.exact.saved.add(Usage(prompt_token_count=4, cached_content_token_count=2))
    counts.exact.saved.add(Usage(candidates_token_count=6, thoughts_token_count=5))
    store = MemoryAnswers(10, 10_000, clock.now)
    assert not cache_stats_of(counts, store, enabled=True, wall=5.0).exact.HasField(
        "oldest_entry_age"
    )
    await store.put(b"k", StoredAnswer((b"x",), clock.now(), clock.now() + 50, clock.now() + 90))
    await clock.advance(7)
    told = cache_stats_of(counts, store, enabled=True, wall=5.0)
    exact = told.exact
    assert (True, 1, 10, store.bytes, 10_000) == (
        exact.enabled,
        exact.entries,
        exact.max_entries,
        exact.size_bytes,
        exact.max_size_bytes,
    )
    assert (3, 1, 1, 2, 1, 0.75) == (
        exact.hits,
        exact.misses,
        exact.stale_hits,
        exact.bypasses,
        exact.stores,
        exact.hit_ratio,
    )
    assert (4, 2, 15) == (
        exact.saved_tokens.prompt,
        exact.saved_tokens.cached,
        exact.saved_tokens.total,
    )
    assert (7, 9, 5) == (
        exact.oldest_entry_age.seconds,
        told.coalesced_executions,
        told.sample_time.seconds,
    )
