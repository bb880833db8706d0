"""An upstream killed in mid-stream: every caller learns what it has, and what it has not."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import Failure, broken_off, failure_of
from tests.support.servers.process import AS_IT_COMES, serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of, until

STREAMS = 50
HELLO = pb.ExecuteRequest(prompt="hi")


def request(number: int) -> pb.ExecuteRequest:
    """Return a request whose answer pauses: a fifth of them before the first event."""
    fault = "first_byte_delay seconds=30" if number % 5 == 0 else f"stall after={1 + number % 7}"
    return pb.ExecuteRequest(prompt=f"[[length: 200]] [[fault: {fault}]]")


async def test_a_killed_upstream_is_told_and_used_again() -> None:
    """Each of 50 streams ends typed; calls fail fast meanwhile; the same port is used again."""
    async with simulating() as first:
        port = int(first.ports["http"].rpartition(":")[2])
        async with (
            serving(upstream_at(first.http, **AS_IT_COMES)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            stub: Any = rpc.ExecuteServiceStub(channel)
            reading = [
                asyncio.ensure_future(broken_off(stub.Execute(request(number))))
                for number in range(STREAMS)
            ]
            await until(lambda: stats_of(first), lambda now: now["requests"] >= STREAMS)
            await asyncio.sleep(0.5)
            first.process.kill()
            for received, failed in await asyncio.wait_for(asyncio.gather(*reading), 5):
                agrees(received, failed)

            began = time.monotonic()
            for answer in (
                collect(stub.Execute(HELLO)),
                stub.Process(pb.ProcessRequest(prompt="hi")),
            ):
                failed = await failure_of(answer)
                assert grpc.StatusCode.UNAVAILABLE == failed.code
                assert "UPSTREAM_UNREACHABLE" == failed.reason
            assert time.monotonic() - began < 1

            metrics: Any = metrics_rpc.MetricsServiceStub(channel)
            now = await metrics.GetMonitoringMetrics(metrics_pb.GetMonitoringMetricsRequest())
            assert (0, 0) == (now.metrics.open_streams, now.metrics.upstream.in_use)

            async with simulating(port=port):
                events = await collect(stub.Execute(HELLO))
                assert events[-1].HasField("completed")


def agrees(received: list[pb.ExecuteResponse], failed: Failure) -> None:
    """Check that the status says the same as what was received."""
    deltas = sum(event.HasField("delta") for event in received)
    assert grpc.StatusCode.UNAVAILABLE == failed.code
    cut = "UPSTREAM_STREAM_CUT" if received else "UPSTREAM_UNREACHABLE"
    assert failed.reason in {cut, "UPSTREAM_STREAM_CUT"}
    told = failed.execution
    last = received[-1].sequence if received else 0
    assert (last, deltas) == (told.last_sequence, told.deltas_delivered)
    assert told.execution
    assert {event.execution for event in received} <= {told.execution}
    assert [1] == [attempt.number for attempt in told.attempts]


async def test_an_upstream_that_closes_kept_connections_is_no_failure() -> None:
    """Connections that the upstream closed while idle are replaced; no caller notices."""
    async with simulating() as first:
        port = int(first.ports["http"].rpartition(":")[2])
        async with (
            serving(upstream_at(first.http, **AS_IT_COMES)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            stub: Any = rpc.ExecuteServiceStub(channel)
            await asyncio.gather(*(collect(stub.Execute(HELLO)) for _ in range(20)))
            await first.stop()
            async with simulating(port=port):
                done = await asyncio.gather(*(collect(stub.Execute(HELLO)) for _ in range(20)))
    assert all(events[-1].HasField("completed") for events in done)
