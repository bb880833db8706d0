"""What the policies did since the start, packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import metrics_service_pb2 as pb

if TYPE_CHECKING:
    from gemini_backend.api.overview import Overview


def flow_message(overview: Overview) -> pb.FlowMetrics:
    """Return what became of attempts, and what was refused."""
    retries = overview.retry.counts
    return pb.FlowMetrics(
        retries=retries.retries,
        retries_out_of_attempts=retries.out_of_attempts,
        retries_out_of_budget=retries.out_of_budget,
        retries_out_of_time=retries.out_of_time,
        hedges_sent=overview.hedge.hedged,
        hedges_won=overview.hedge.won,
        fallback_switches=overview.fallback.switched,
        rate_limit_refusals=overview.rate_limit.refused,
        circuit_rejections=overview.breaker.rejected,
        quota_refusals=overview.quota.refused,
        quota_waiting=overview.quota.waiting,
        admission_refusals=overview.admission.refused,
    )


def journal_message(overview: Overview) -> pb.JournalMetrics | None:
    """Return how the journal is; None where it is off."""
    if overview.journal is None:
        return None
    state = overview.journal.store.state()
    return pb.JournalMetrics(
        executions=state.executions,
        max_executions=state.max_executions,
        size_bytes=state.bytes,
        max_size_bytes=state.max_bytes,
        evictions=state.evicted,
        resumes=overview.counts.resumed,
        detached_executions=overview.counts.detached,
    )
