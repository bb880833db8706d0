"""MetricsService.

Covers: api/messages/flow.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import metrics_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Usage
from gemini.backend.v1.error_details_pb2 import ERROR_REASON_UPSTREAM_THROTTLED
from gemini_backend.api.metrics import MetricsService
from gemini_backend.errors import Draining, Throttled, UpstreamUnavailable
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.policies.base import opened
from gemini_backend.policies.flow.admission import Refusal
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.telemetry.metrics.process import LoopLag, Process
from tests.support.layers.inproc import collect
from tests.support.layers.observed_policies import overview_of
from tests.support.layers.service_parts import EPOCH, Board, board_of
from tests.support.messages.calls import CALL, EXECUTE, make_call
from tests.support.messages.events import answered, arrived, begun, ended
from tests.support.upstreams.scripted_attempts import ANSWER, DOWN, REQUEST, Attempts, finish

if TYPE_CHECKING:
    from gemini_backend.api.overview import Overview
    from tests.support.clock import FakeClock


@pytest.fixture
def overview(clock: FakeClock) -> Overview:
    """Policies that have done nothing yet."""
    return overview_of(clock)


@pytest.fixture
def board(clock: FakeClock) -> Board:
    """Parts that know model a."""
    return board_of(clock, UpstreamModel("models/a"))


@pytest.fixture
def servicer(board: Board, overview: Overview) -> MetricsService:
    """A servicer over these parts."""
    return MetricsService(
        board.metrics,
        Process(board.clock, LoopLag(board.clock)),
        lambda: (3, 512),
        board.lifecycle,
        overview=overview,
        cache_stats=pb.GetCacheStatsResponse,
        cost=lambda: 5,
        clock=board.clock,
        wall=board.wall,
    )


async def test_performance_is_told_by_model_and_method(
    board: Board, servicer: MetricsService
) -> None:
    """Counts, reasons, percentiles and tokens arrive, per model and per method."""
    usage = Usage(prompt_token_count=4, candidates_token_count=6)
    board.bus.publish(arrived(EXECUTE))
    board.bus.publish(answered(EXECUTE, "OK", "", 2.0))
    for error in (None, Throttled("wait")):
        board.bus.publish(ended("models/a", 2.0, first_token_seconds=0.5, usage=usage, error=error))
    await board.clock.advance(10)
    request = pb.GetPerformanceMetricsRequest(window=Duration(seconds=60))
    response = await servicer.GetPerformanceMetrics(CALL, request)
    assert response.end_time.seconds == EPOCH + board.clock.now()
    assert (response.executions.requests.total, response.executions.requests.failed) == (2, 1)
    (error_count,) = response.executions.errors
    assert (error_count.reason, error_count.count) == (ERROR_REASON_UPSTREAM_THROTTLED, 1)
    assert response.executions.latency.p50 == Duration(seconds=2)
    assert response.executions.first_token_latency.p99 == Duration(nanos=500_000_000)
    assert response.executions.tokens == pb.TokenTotals(prompt=8, candidates=12, total=20)
    (model,) = response.models
    assert (model.model, model.stats) == ("models/a", response.executions)
    (method,) = response.methods
    assert (method.method, method.requests.succeeded) == (EXECUTE, 1)
    assert response.since_start.requests.total == 2


async def test_no_measurements_mean_no_percentiles(servicer: MetricsService) -> None:
    """Without executions there are no times, rather than times of 0."""
    response = await servicer.GetPerformanceMetrics(CALL, pb.GetPerformanceMetricsRequest())
    assert not response.executions.latency.HasField("p50")


async def test_monitoring_is_of_this_moment(board: Board, servicer: MetricsService) -> None:
    """The process, what is in flight, the connections and the rates arrive."""
    board.bus.publish(arrived(EXECUTE))
    board.bus.publish(begun())
    request = pb.GetMonitoringMetricsRequest()
    metrics = (await servicer.GetMonitoringMetrics(CALL, request)).metrics
    assert metrics.process.resident_bytes > 0
    assert (metrics.rpcs_in_flight, metrics.open_streams, metrics.executions_in_flight) == (1, 1, 1)
    assert metrics.upstream == pb.UpstreamConnections(in_use=3, limit=512)
    assert metrics.HasField("rates")


async def test_a_watch_samples_at_its_interval(board: Board, servicer: MetricsService) -> None:
    """The first sample comes at once, each further one after the interval, until the drain."""
    request = pb.WatchMonitoringMetricsRequest(interval=Duration(seconds=2))
    async with opened(servicer.WatchMonitoringMetrics(CALL, request)) as samples:
        times = [(await anext(samples)).metrics.sample_time.seconds]
        for _ in range(2):
            waiting = asyncio.ensure_future(anext(samples))
            await board.clock.advance(2)
            times.append((await waiting).metrics.sample_time.seconds)
        assert [time - times[0] for time in times] == [0, 2, 4]
        board.lifecycle.drain()
        with pytest.raises(Draining):
            await anext(samples)


async def test_what_the_policies_did_is_told(
    board: Board, servicer: MetricsService, overview: Overview
) -> None:
    """Retries, hedges, switches, refusals, and what the journal keeps."""
    assert overview.journal is not None
    retrying = Pipeline(overview.journal, overview.retry)
    failing = retrying.stream(Attempts(board.clock, DOWN).stream)
    with pytest.raises(UpstreamUnavailable):
        await finish(board.clock, collect(failing(make_call(board.clock), REQUEST)))
    kept = Pipeline(overview.journal).stream(Attempts(board.clock, ANSWER).stream)
    await finish(board.clock, collect(kept(make_call(board.clock), REQUEST)))
    overview.hedge.hedged, overview.hedge.won, overview.fallback.switched = 5, 4, 3
    overview.rate_limit.refused, overview.quota.refused, overview.quota.waiting = 6, 7, 8
    overview.admission.refusals[Refusal.QUEUE_FULL] = 9
    overview.breaker.forgotten_rejected = 10
    overview.counts.resumed, overview.counts.detached = 11, 12
    sample = (await servicer.GetMonitoringMetrics(CALL, pb.GetMonitoringMetricsRequest())).metrics
    assert sample.flow == pb.FlowMetrics(
        retries=5,
        retries_out_of_attempts=1,
        hedges_sent=5,
        hedges_won=4,
        fallback_switches=3,
        rate_limit_refusals=6,
        circuit_rejections=10,
        quota_refusals=7,
        quota_waiting=8,
        admission_refusals=9,
    )
    assert sample.journal == pb.JournalMetrics(
        executions=1,
        max_executions=10_000,
        size_bytes=overview.journal.store.bytes,
        max_size_bytes=64 * 1024 * 1024,
        resumes=11,
        detached_executions=12,
    )
