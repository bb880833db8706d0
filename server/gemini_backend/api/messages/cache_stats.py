"""What the cache holds and has saved, packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import metrics_service_pb2 as pb
from gemini_backend.api.messages.token_totals import token_totals
from gemini_backend.durations import duration_of, timestamp_of

if TYPE_CHECKING:
    from gemini_backend.policies.cache.semantic import SemanticCache
    from gemini_backend.stores.memory_answers import MemoryAnswers
    from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts, Lookups


def cache_stats_of(
    counts: CacheCounts,
    store: MemoryAnswers,
    semantic: SemanticCache | None = None,
    *,
    enabled: bool,
    wall: float,
) -> pb.GetCacheStatsResponse:
    """Return the figures at this moment.

    Args:
        counts: What was counted since the process started.
        store: What is kept.
        semantic: The cache of similar requests; None where it is off.
        enabled: Whether `cache.mode` lets anything be kept.
        wall: Seconds since the epoch.
    """
    age, lookups = store.oldest_age, counts.exact
    exact = pb.CacheStats(
        enabled=enabled,
        entries=store.entries,
        max_entries=store.max_entries,
        size_bytes=store.bytes,
        max_size_bytes=store.max_bytes,
        hits=lookups.results["hit"],
        misses=lookups.results["miss"],
        stale_hits=lookups.results["stale"],
        bypasses=lookups.results["bypass"],
        stores=store.stores,
        evictions=store.evictions,
        expirations=store.expirations,
        hit_ratio=lookups.hit_ratio,
        saved_tokens=token_totals(lookups.saved),
        saved_cost_nano_usd=lookups.saved_nano_usd,
        oldest_entry_age=duration_of(age),
        too_large=store.refusals,
    )
    return pb.GetCacheStatsResponse(
        exact=exact,
        semantic=None if semantic is None else _semantic(counts.semantic, semantic),
        coalesced_executions=counts.coalesced,
        sample_time=timestamp_of(wall),
    )


def _semantic(lookups: Lookups, semantic: SemanticCache) -> pb.CacheStats:
    vectors = semantic.vectors
    return pb.CacheStats(
        enabled=True,
        entries=len(vectors),
        max_entries=vectors.max_entries,
        size_bytes=vectors.size_bytes,
        max_size_bytes=vectors.max_entries * vectors.dimensions * 4,
        hits=lookups.results["hit"],
        misses=lookups.results["miss"],
        bypasses=lookups.results["bypass"],
        stores=semantic.stores,
        hit_ratio=lookups.hit_ratio,
        saved_tokens=token_totals(lookups.saved),
        saved_cost_nano_usd=lookups.saved_nano_usd,
    )
