"""With upstream dead: fast failures, cached answers, health that says why; then all is well again.

One test after the other, on one server: the upstream dies, and comes back at the same address.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from prometheus_client.parser import text_string_to_metric_families

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health_pb
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from gemini.backend.v1.content_pb2 import GenerationConfig
from gemini.backend.v1.error_details_pb2 import ERROR_REASON_UPSTREAM_UNREACHABLE
from tests.support.messages.failures import failure_of, rest_of
from tests.support.servers.process import run_backend, serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.messages.failures import Failure
    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

BREAK_SECONDS = 5.0
MODEL = "gemini-3.5-flash"
KEPT = pb.ExecuteRequest(
    prompt="kept", model=MODEL, generation_config=GenerationConfig(temperature=0)
)
HEALTHY, UNHEALTHY = health_pb.HEALTH_STATE_HEALTHY, health_pb.HEALTH_STATE_UNHEALTHY


@dataclass
class Outage:
    """A server whose upstream has died, and what health has told meanwhile."""

    server: Process
    stub: Any
    health: Any
    metrics: Any
    port: int
    told: list[health_pb.HealthStatus] = field(default_factory=list)

    async def status(self) -> health_pb.HealthStatus:
        return (await self.health.GetHealthStatus(health_pb.GetHealthStatusRequest())).status

    async def watch(self) -> None:
        request = health_pb.WatchHealthStatusRequest(min_interval=Duration(nanos=100_000_000))
        async for change in self.health.WatchHealthStatus(request):
            self.told.append(change.status)

    async def ask(self, prompt: str) -> Failure:
        return await failure_of(self.stub.Process(pb.ProcessRequest(prompt=prompt, model=MODEL)))

    async def opened(self) -> bool:
        return (await self.ask("is it open?")).reason == "POLICY_CIRCUIT_OPEN"

    async def exposed(self, name: str, **labels: str) -> float:
        """Return a sample of Prometheus' text."""
        url = f"{self.server.web}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            families = text_string_to_metric_families(await answer.text())
            samples = [s for one in families for s in one.samples if s.name == name]
        return next(s.value for s in samples if labels.items() <= s.labels.items())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outage() -> AsyncIterator[Outage]:
    """Answer once, watch health, then let the upstream die until the circuit is open."""
    async with simulating() as simulator:
        settings = {
            "GEMINI_BACKEND_BREAKER__BREAK_SECONDS": str(BREAK_SECONDS),
            "GEMINI_BACKEND_BREAKER__MINIMUM_CALLS": "5",
            "GEMINI_BACKEND_BREAKER__HALF_OPEN_PROBES": "1",
            "GEMINI_BACKEND_BREAKER__MAX_WAIT_SECONDS": "0",
            "GEMINI_BACKEND_RETRY__INITIAL_DELAY_MS": "10",
        }
        async with (
            serving(upstream_at(simulator.http, **settings)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            made = Outage(
                server,
                rpc.ExecuteServiceStub(channel),
                health_rpc.HealthServiceStub(channel),
                metrics_rpc.MetricsServiceStub(channel),
                int(simulator.ports["http"].rpartition(":")[2]),
            )
            await rest_of(made.stub.Execute(KEPT))
            watching = asyncio.ensure_future(made.watch())
            await until(made.status, lambda status: status.state == HEALTHY)
            simulator.process.kill()
            await simulator.ended()
            await until(made.opened, bool)
            yield made
            watching.cancel()


async def test_executions_fail_fast(outage: Outage) -> None:
    """Once the circuit is open a failure takes less than 50 ms, and says when to come back."""
    seconds = []
    for number in range(60):
        began = time.perf_counter()
        failed = await outage.ask(f"fast {number}")
        if failed.reason == "POLICY_CIRCUIT_OPEN":  # else it was a probe
            seconds.append(time.perf_counter() - began)
    assert len(seconds) > 50
    assert statistics.median(seconds) < 0.05, seconds


async def test_health_says_why(outage: Outage) -> None:
    """The model, the circuit, the reason, and when it is tried again; it is still ready."""
    status = await until(outage.status, lambda now: now.state == UNHEALTHY)
    (circuit,) = status.circuit_breakers
    assert (f"models/{MODEL}", health_pb.CIRCUIT_STATE_OPEN, ERROR_REASON_UPSTREAM_UNREACHABLE) == (
        circuit.model,
        circuit.state,
        circuit.last_failure_reason,
    )
    assert 0 < circuit.rejected_calls
    ahead = circuit.probe_time.ToNanoseconds() - status.sample_time.ToNanoseconds()
    assert 0 < ahead <= BREAK_SECONDS * 1e9
    assert f"models/{MODEL} is not called because its circuit is open" in status.message
    assert "the latest with UPSTREAM_UNREACHABLE; next probe in" in status.message
    (model,) = status.models
    assert (UNHEALTHY, status.message, True) == (model.state, model.message, status.ready)
    shown = await run_backend("health", "--target", outage.server.grpc)
    assert (0, True) == (
        shown.code,
        f"models/{MODEL} is not called because its circuit is open" in shown.stdout,
    )


async def test_the_metrics_show_it(outage: Outage) -> None:
    """Prometheus and MetricsService have the open circuit and what it refused."""
    circuits = "gemini_backend_circuits"
    assert 1 == await until(
        lambda: outage.exposed(circuits, model=MODEL, state="open"), lambda value: value == 1
    )
    refused = await outage.exposed("gemini_backend_circuit_rejected_calls_total", model=MODEL)
    assert refused > 0
    sample = await outage.metrics.GetMonitoringMetrics(metrics_pb.GetMonitoringMetricsRequest())
    assert sample.metrics.flow.circuit_rejections >= refused
    assert sample.metrics.flow.retries > 0


async def test_cached_answers_still_come(outage: Outage) -> None:
    """A hit needs no upstream; the statistics count it at once."""
    ask = metrics_pb.GetCacheStatsRequest()
    before = (await outage.metrics.GetCacheStats(ask)).exact
    events = await rest_of(outage.stub.Execute(KEPT))
    after = (await outage.metrics.GetCacheStats(ask)).exact
    assert pb.CACHE_STATUS_HIT == events[0].started.cache_status
    assert (1, 1) == (after.hits - before.hits, after.entries)
    assert after.hits / (after.hits + after.misses) == pytest.approx(after.hit_ratio)
    assert after.saved_tokens.total > before.saved_tokens.total


async def test_all_is_well_again_within_the_break(outage: Outage) -> None:
    """From when upstream is back, calls succeed within the break; health says so at once."""
    async with simulating(port=outage.port):
        back = time.monotonic()
        request = pb.ProcessRequest(prompt="back?", model=MODEL)
        while True:
            try:
                await outage.stub.Process(request)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)
            else:
                break
        assert time.monotonic() - back < BREAK_SECONDS + 1
        for number in range(20):
            whole = pb.ProcessRequest(prompt=f"well {number}", model=MODEL)
            await outage.stub.Process(whole)
        status = await outage.status()
        assert (HEALTHY, "the server accepts calls") == (status.state, status.message)
        assert [health_pb.CIRCUIT_STATE_CLOSED] == [one.state for one in status.circuit_breakers]
        assert HEALTHY == status.models[0].state
        await until(_latest(outage), lambda state: state == HEALTHY)
    states = [status.state for status in outage.told]
    assert (HEALTHY, HEALTHY) == (states[0], states[-1])
    assert UNHEALTHY in states
    # one message for each change of a state, however many calls there were
    assert len(states) < 40


def _latest(outage: Outage) -> Any:
    async def latest() -> Any:
        return outage.told[-1].state

    return latest


async def test_each_change_is_a_line_in_the_log(outage: Outage) -> None:
    """Opened and closed, with what it opened on and for how long; probes are not told."""

    async def told() -> list[str]:
        return [line for line in outage.server.log().splitlines() if '"event":"circuit"' in line]

    lines = await until(told, lambda seen: bool(seen) and '"state":"closed"' in seen[-1])
    assert '"state":"open"' in lines[0]
    assert '"reason":"UPSTREAM_UNREACHABLE"' in lines[0]
    assert f'"model":"models/{MODEL}"' in lines[0]
    assert ['"outage_seconds":' in line for line in lines] == [False, True]
