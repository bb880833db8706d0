"""The end of a server: running streams finish, new calls go elsewhere, then it is over.

Covers: rpc/standard_health.py
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health_pb
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from tests.support.messages.failures import broken_off, failure_of, rest_of
from tests.support.servers.process import Process, serving, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = pb.ExecuteRequest(prompt="[[length: 120]] [[fault: chunk_delay seconds=0.1]]")
ENDLESS = pb.ExecuteRequest(prompt="[[length: 120]] [[fault: stall after=2]]")
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def _begun(channel: grpc.aio.Channel, request: pb.ExecuteRequest) -> Any:
    """Return a stream of which the first event has come, and that event."""
    stream: Any = rpc.ExecuteServiceStub(channel).Execute(request)
    return stream, await stream.read()


async def test_a_running_stream_finishes_while_health_says_not_serving(simulator: Process) -> None:
    """After SIGTERM watchers are told at once, the stream runs to its end, the exit code is 0."""
    async with (
        serving(upstream_at(simulator.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stream, first = await _begun(channel, SLOW)
        watch: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert health_pb2.HealthCheckResponse.SERVING == (await watch.read()).status
        server.send(signal.SIGTERM)
        assert NOT_SERVING == (await asyncio.wait_for(watch.read(), 1)).status
        events = [first, *await rest_of(stream)]
        assert "completed" == events[-1].WhichOneof("event")
        assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
        assert 0 == await server.ended(5)
    await until(lambda: stats_of(simulator), lambda now: now["connections_open"] == 1)


async def test_new_calls_are_refused_while_it_drains(simulator: Process) -> None:
    """Whoever comes during the drain is told UNAVAILABLE, which a client may try elsewhere."""
    async with (
        serving(upstream_at(simulator.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
        grpc.aio.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as late,
    ):
        stream, _ = await _begun(channel, SLOW)
        server.send(signal.SIGTERM)
        await asyncio.sleep(0.2)
        failed = await failure_of(
            rpc.ExecuteServiceStub(late).Process(pb.ProcessRequest(prompt="hi"), timeout=2)
        )
        assert grpc.StatusCode.UNAVAILABLE == failed.code
        await rest_of(stream)


async def test_a_second_signal_ends_it_at_once(simulator: Process) -> None:
    """Nothing is waited for any more; the exit code is still 0 and the upstream is left."""
    async with (
        serving(upstream_at(simulator.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stream, _ = await _begun(channel, ENDLESS)
        server.send(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert server.process.returncode is None
        server.send(signal.SIGTERM)
        assert 0 == await server.ended(3)
        await broken_off(stream)
    await until(lambda: stats_of(simulator), lambda now: now["streams_open"] == 0)


async def test_what_outlives_the_grace_period_ends_with_a_status(simulator: Process) -> None:
    """After server.drain_seconds the stream ends: UNAVAILABLE, BACKEND_DRAINING, and how far."""
    settings = upstream_at(simulator.http, GEMINI_BACKEND_SERVER__DRAIN_SECONDS="0.5")
    async with serving(settings) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        stream, first = await _begun(channel, ENDLESS)
        server.send(signal.SIGTERM)
        received, failed = await broken_off(stream)
        received.insert(0, first)
        assert (grpc.StatusCode.UNAVAILABLE, "BACKEND_DRAINING") == (failed.code, failed.reason)
        assert received[-1].sequence == failed.execution.last_sequence
        assert 0 == await server.ended(3)
    await until(lambda: stats_of(simulator), lambda now: now["streams_open"] == 0)


async def test_watchers_do_not_hold_it_up(simulator: Process) -> None:
    """Watches of health and metrics, which never end by themselves, do not delay the exit."""
    async with (
        serving(upstream_at(simulator.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        standard: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        own: Any = health_rpc.HealthServiceStub(channel).WatchHealthStatus(
            health_pb.WatchHealthStatusRequest()
        )
        await standard.read()
        await own.read()
        server.send(signal.SIGTERM)
        assert NOT_SERVING == (await standard.read()).status
        assert 0 == await server.ended(3)
