"""How look-ups, savings and shared runs are counted."""

from __future__ import annotations

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.telemetry.events import (
    AnswerReused,
    CacheLookedUp,
    ExecutionCoalesced,
    ExecutionDetached,
    StreamResumed,
)
from gemini_backend.telemetry.metrics.listeners.cache_counts import CacheCounts
from tests.support.messages.events import heard_by


def test_each_cache_has_counts_of_its_own() -> None:
    """Look-ups by result, and what the answers that were given again would have cost."""
    counts = CacheCounts(lambda model, usage: usage.prompt_token_count * (model == "a-1"))
    bus = heard_by(counts)
    for result in ("hit", "hit", "hit", "miss", "stale", "bypass"):
        bus.publish(CacheLookedUp("e1", "exact", result))  # type: ignore[arg-type]
    bus.publish(CacheLookedUp("e1", "semantic", "miss"))
    usage = Usage(prompt_token_count=4, candidates_token_count=6, cached_content_token_count=1)
    for model in ("a-1", "a-1", "unknown"):
        bus.publish(AnswerReused("e1", "exact", model, usage))
    exact, semantic = counts.exact, counts.semantic
    assert {"hit": 3, "miss": 1, "stale": 1, "bypass": 1} == exact.results
    assert ({"miss": 1}, 0) == (semantic.results, semantic.saved.total)
    assert (0.75, 0.0, 30, 3, 8) == (
        exact.hit_ratio,
        semantic.hit_ratio,
        exact.saved.total,
        exact.saved.cached,
        exact.saved_nano_usd,
    )


def test_what_spares_a_run_is_counted() -> None:
    """Shared runs, resumed streams, executions that outlived their connection."""
    counts = CacheCounts()
    bus = heard_by(counts)
    for event in (
        ExecutionCoalesced("e2", "e1"),
        StreamResumed("e3", "e1"),
        StreamResumed("e4", "e1"),
        ExecutionDetached("e1"),
    ):
        bus.publish(event)
    assert (1, 2, 1) == (counts.coalesced, counts.resumed, counts.detached)
