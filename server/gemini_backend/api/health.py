"""HealthService: how the backend is, and what runs."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING

from gemini.backend.v1 import health_service_pb2 as pb
from gemini_backend.api.messages.health import STATES, status_message
from gemini_backend.api.requests.until_draining import until_draining
from gemini_backend.durations import duration_of, seconds_of, timestamp_of
from gemini_backend.telemetry.health.lifecycle import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config import ConfigStore
    from gemini_backend.models.listing import ModelListing
    from gemini_backend.policies.chain import Chain
    from gemini_backend.telemetry.health.health_report import HealthReport, HealthReporter
    from gemini_backend.telemetry.health.lifecycle import Lifecycle
    from gemini_backend.telemetry.metrics.metrics import Metrics
    from gemini_backend.upstream.base import UpstreamFacts

_API_VERSION = "gemini.backend.v1"
_INTERVAL_SECONDS = 1.0
_STAGES = {
    Stage.STARTING: pb.SERVING_STATE_STARTING,
    Stage.SERVING: pb.SERVING_STATE_SERVING,
    Stage.DRAINING: pb.SERVING_STATE_DRAINING,
}


class HealthService:
    """Answers from what others know; no call of it asks the upstream."""

    def __init__(
        self,
        reporter: HealthReporter,
        lifecycle: Lifecycle,
        metrics: Metrics,
        store: ConfigStore,
        *,
        upstream: UpstreamFacts,
        key_count: Callable[[], int],
        listing: ModelListing,
        chain: Chain,
        clock: Clock,
    ) -> None:
        """Know whom to ask.

        Args:
            reporter: Judges health.
            lifecycle: Stage and addresses of the server; says when watchers have to end.
            metrics: What is in flight.
            store: The configuration in force.
            upstream: Which upstream is in use.
            key_count: How many keys it has now.
            listing: The models that it lists.
            chain: The chain as it is mounted.
            clock: Times the messages of a watch.
        """
        self._reporter = reporter
        self._lifecycle = lifecycle
        self._metrics = metrics
        self._store = store
        self._upstream = upstream
        self._key_count = key_count
        self._listing = listing
        self._chain = chain
        self._clock = clock
        self._began = clock.now()

    async def GetHealthStatus(
        self, _call: Call, _request: pb.GetHealthStatusRequest
    ) -> pb.GetHealthStatusResponse:
        """Return the health at this moment."""
        return pb.GetHealthStatusResponse(status=status_message(self._reporter.report()))

    async def WatchHealthStatus(
        self, _call: Call, request: pb.WatchHealthStatusRequest
    ) -> AsyncIterator[pb.WatchHealthStatusResponse]:
        """Yield the health at once, then whenever it changes, until caller or server ends it."""
        asked = request.HasField("min_interval")
        interval = seconds_of(request.min_interval) if asked else _INTERVAL_SECONDS
        async for condition in until_draining(self._lifecycle.draining, self._changes(interval)):
            yield pb.WatchHealthStatusResponse(status=status_message(condition))

    async def GetBackendStatus(
        self, _call: Call, _request: pb.GetBackendStatusRequest
    ) -> pb.GetBackendStatusResponse:
        """Return what runs."""
        life = self._lifecycle
        return pb.GetBackendStatusResponse(
            version=version("gemini-backend"),
            api_version=_API_VERSION,
            instance=life.instance,
            state=_STAGES[life.stage],
            start_time=timestamp_of(life.started),
            uptime=duration_of(self._clock.now() - self._began),
            grpc_address=life.addresses.grpc,
            web_address=life.addresses.web,
            config_revision=self._store.revision.number,
            upstream=self._upstream_status(),
            layers=[
                pb.LayerStatus(
                    name=layer.name,
                    enabled=layer.layer is not None,
                    description="" if layer.layer is None else repr(layer.layer),
                )
                for layer in self._chain
            ],
            rpcs_in_flight=self._metrics.rpcs_in_flight,
            open_streams=self._metrics.open_streams,
            python_version=platform.python_version(),
            grpc_version=version("grpcio"),
        )

    async def _changes(self, interval: float) -> AsyncIterator[HealthReport]:
        told: HealthReport | None = None
        while True:
            condition = self._reporter.report()
            if not condition.same_as(told):
                told = condition
                yield condition
            await self._clock.sleep(interval)

    def _upstream_status(self) -> pb.UpstreamStatus:
        components = self._reporter.report().components
        state = next(one.state for one in components if one.name == "upstream")
        return pb.UpstreamStatus(
            provider=self._upstream.provider,
            base_url=self._upstream.base_url,
            api_version=self._upstream.api_version,
            state=STATES[state],
            key_count=self._key_count(),
            model_count=len(self._listing.known()),
        )
