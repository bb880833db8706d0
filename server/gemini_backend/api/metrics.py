"""MetricsService: what was counted, packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import metrics_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import ERROR_REASON_UNSPECIFIED, ErrorReason
from gemini_backend.api.messages.flow import flow_message, journal_message
from gemini_backend.api.messages.token_totals import token_totals
from gemini_backend.api.requests.until_draining import until_draining
from gemini_backend.durations import duration_of, seconds_of, timestamp_of
from gemini_backend.telemetry.metrics.digest import MAX_WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.api.overview import Overview
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.health.lifecycle import Lifecycle
    from gemini_backend.telemetry.metrics.metrics import Metrics
    from gemini_backend.telemetry.metrics.process import Process, ProcessSample
    from gemini_backend.telemetry.metrics.snapshots import Counts, Latency, Stats

_INTERVAL_SECONDS = 5.0
_REASONS = {name.removeprefix("ERROR_REASON_"): value for name, value in ErrorReason.items()}


class MetricsService:
    """Answers from the metrics and from the process."""

    def __init__(
        self,
        metrics: Metrics,
        process: Process,
        connections: Callable[[], tuple[int, int]],
        lifecycle: Lifecycle,
        *,
        overview: Overview,
        cache_stats: Callable[[], pb.GetCacheStatsResponse],
        cost: Callable[[], int],
        clock: Clock,
        wall: Callable[[], float],
    ) -> None:
        """Know whom to ask.

        Args:
            metrics: What was counted.
            process: The process's own figures.
            connections: Returns how many upstream connections carry a request, and the limit.
            lifecycle: Says when watchers have to end.
            overview: The policies, and what they did.
            cache_stats: Returns what the cache holds and has saved.
            cost: Returns what executions have cost, in 10^-9 US dollars.
            clock: Times the samples of a watch.
            wall: Gives seconds since the epoch.
        """
        self._metrics = metrics
        self._process = process
        self._connections = connections
        self._lifecycle = lifecycle
        self._overview = overview
        self._cache_stats = cache_stats
        self._cost = cost
        self._clock = clock
        self._wall = wall

    async def GetCacheStats(
        self, _call: Call, _request: pb.GetCacheStatsRequest
    ) -> pb.GetCacheStatsResponse:
        """Return what the cache holds and has saved."""
        return self._cache_stats()

    async def GetPerformanceMetrics(
        self, _call: Call, request: pb.GetPerformanceMetricsRequest
    ) -> pb.GetPerformanceMetricsResponse:
        """Return the figures of the recent past."""
        asked = request.HasField("window")
        window = seconds_of(request.window) if asked else MAX_WINDOW_SECONDS
        performance = self._metrics.performance(window, request.model)
        return pb.GetPerformanceMetricsResponse(
            start_time=timestamp_of(performance.start),
            end_time=timestamp_of(performance.end),
            executions=_executions(performance.executions),
            models=[
                pb.ModelExecutionStats(model=f"models/{name}", stats=_executions(stats))
                for name, stats in performance.models
            ],
            methods=[_method(name, stats) for name, stats in performance.methods],
            since_start=_executions(performance.since_start),
        )

    async def GetMonitoringMetrics(
        self, _call: Call, _request: pb.GetMonitoringMetricsRequest
    ) -> pb.GetMonitoringMetricsResponse:
        """Return the state at this moment."""
        return pb.GetMonitoringMetricsResponse(metrics=self._sample())

    async def WatchMonitoringMetrics(
        self, _call: Call, request: pb.WatchMonitoringMetricsRequest
    ) -> AsyncIterator[pb.WatchMonitoringMetricsResponse]:
        """Yield the state at once, then at an interval, until caller or server ends it."""
        asked = request.HasField("interval")
        interval = seconds_of(request.interval) if asked else _INTERVAL_SECONDS
        async for sample in until_draining(self._lifecycle.draining, self._samples(interval)):
            yield pb.WatchMonitoringMetricsResponse(metrics=sample)

    async def _samples(self, interval: float) -> AsyncIterator[pb.MonitoringMetrics]:
        while True:
            yield self._sample()
            await self._clock.sleep(interval)

    def _sample(self) -> pb.MonitoringMetrics:
        rates = self._metrics.rates()
        in_use, limit = self._connections()
        return pb.MonitoringMetrics(
            sample_time=timestamp_of(self._wall()),
            process=_process(self._process.sample()),
            rpcs_in_flight=self._metrics.rpcs_in_flight,
            executions_in_flight=self._metrics.executions_in_flight,
            open_streams=self._metrics.open_streams,
            upstream=pb.UpstreamConnections(in_use=in_use, limit=limit),
            rates=pb.RateMetrics(
                rpcs_per_second=rates.rpcs,
                executions_per_second=rates.executions,
                errors_per_second=rates.errors,
                tokens_per_second=rates.tokens,
            ),
            flow=flow_message(self._overview),
            journal=journal_message(self._overview),
            cost_nano_usd=self._cost(),
        )


def _executions(stats: Stats) -> pb.ExecutionStats:
    return pb.ExecutionStats(
        requests=_counts(stats.counts),
        errors=_errors(stats),
        latency=_latency(stats.latency),
        first_token_latency=_latency(stats.first_token),
        tokens=token_totals(stats.tokens),
        tokens_per_second=stats.tokens_per_second,
        in_flight=stats.in_flight,
    )


def _method(name: str, stats: Stats) -> pb.MethodStats:
    return pb.MethodStats(
        method=name,
        requests=_counts(stats.counts),
        errors=_errors(stats),
        latency=_latency(stats.latency),
        in_flight=stats.in_flight,
    )


def _counts(counts: Counts) -> pb.RequestCounts:
    return pb.RequestCounts(
        total=counts.total,
        succeeded=counts.succeeded,
        failed=counts.failed,
        cancelled=counts.cancelled,
        per_second=counts.per_second,
    )


def _errors(stats: Stats) -> list[pb.ErrorCount]:
    return [
        pb.ErrorCount(reason=_REASONS.get(reason, ERROR_REASON_UNSPECIFIED), count=count)
        for reason, count in stats.errors
    ]


def _latency(latency: Latency) -> pb.LatencyStats:
    if not latency.count:
        return pb.LatencyStats()
    return pb.LatencyStats(
        count=latency.count,
        mean=duration_of(latency.mean),
        p50=duration_of(latency.p50),
        p90=duration_of(latency.p90),
        p95=duration_of(latency.p95),
        p99=duration_of(latency.p99),
        max=duration_of(latency.max),
    )


def _process(sample: ProcessSample) -> pb.ProcessMetrics:
    return pb.ProcessMetrics(
        resident_bytes=sample.resident_bytes,
        cpu_time=duration_of(sample.cpu_seconds),
        cpu_utilization=sample.cpu_utilization,
        uptime=duration_of(sample.uptime),
        event_loop_lag=duration_of(sample.lag),
        event_loop_lag_max=duration_of(sample.lag_max),
        open_file_descriptors=sample.open_files,
        threads=sample.threads,
        tasks=sample.tasks,
    )
