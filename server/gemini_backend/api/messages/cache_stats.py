"""What the cache holds and has saved, packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import metrics_service_pb2 as pb
from gemini_backend.durations import duration_of, timestamp_of

if TYPE_CHECKING:
    from gemini_backend.policies.cache.semantic import Semantic
    from gemini_backend.stores.memory_answers import MemoryAnswers
    from gemini_backend.telemetry.metrics.cache_counts import CacheCounts, SavedTokens


def cache_stats_of(
    counts: CacheCounts,
    store: MemoryAnswers,
    semantic: Semantic | None = None,
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
    age, saved = store.oldest_age, counts.saved
    exact = pb.CacheStats(
        enabled=enabled,
        entries=store.entries,
        max_entries=store.max_entries,
        size_bytes=store.bytes,
        max_size_bytes=store.max_bytes,
        hits=counts.hits,
        misses=counts.misses,
        stale_hits=counts.stale_hits,
        bypasses=counts.bypasses,
        stores=counts.stores,
        evictions=counts.evictions,
        expirations=counts.expirations,
        hit_ratio=counts.hit_ratio,
        saved_tokens=_tokens(saved),
        saved_cost_nano_usd=counts.saved_nano_usd,
        oldest_entry_age=duration_of(age),
        too_large=counts.refusals,
    )
    return pb.GetCacheStatsResponse(
        exact=exact,
        semantic=None if semantic is None else _semantic(semantic),
        coalesced_executions=counts.coalesced,
        sample_time=timestamp_of(wall),
    )


def _semantic(semantic: Semantic) -> pb.CacheStats:
    counts, vectors = semantic.counts, semantic.vectors
    return pb.CacheStats(
        enabled=True,
        entries=len(vectors),
        max_entries=vectors.max_entries,
        size_bytes=vectors.size_bytes,
        max_size_bytes=vectors.max_entries * vectors.dimensions * 4,
        hits=counts.hits,
        misses=counts.misses,
        bypasses=counts.bypasses,
        stores=counts.stores,
        hit_ratio=counts.hit_ratio,
        saved_tokens=_tokens(counts.saved),
        saved_cost_nano_usd=counts.saved_nano_usd,
    )


def _tokens(saved: SavedTokens) -> pb.TokenTotals:
    return pb.TokenTotals(
        prompt=saved.prompt,
        cached=saved.cached,
        candidates=saved.candidates,
        thoughts=saved.thoughts,
        tool_use=saved.tool_use,
        total=saved.total,
    )
