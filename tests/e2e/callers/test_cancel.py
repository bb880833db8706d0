"""Callers that go away, and callers that read slowly: nothing stays behind, nothing piles up."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.support.upstreams.raw_upstreams import (
    Drip,
    Flood,
    drip,
    flood,
    stats_of,
    until,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANCELS, AT_ONCE = 10_000, 100
GROWTH_KIB = 6 * 1024
SLOW_KIB = 96 * 1024
STALLED = pb.ExecuteRequest(prompt="[[fault: stall after=1]]")
SILENT = pb.ExecuteRequest(prompt="[[fault: first_byte_delay seconds=60]]")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dripping() -> AsyncIterator[tuple[Drip, Any]]:
    """Run a server on an upstream that sends one piece, then waits; yield both ends."""
    async with (
        drip() as upstream,
        serving(upstream_at(upstream.url, **AS_IT_COMES)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield upstream, rpc.ExecuteServiceStub(channel)


def in_time(seconds: list[float]) -> None:
    """Check that all of them, and so the 99th percentile, are within 100 ms."""
    assert max(seconds) < 0.1, [round(x * 1000, 1) for x in sorted(seconds)[-5:]]


async def test_a_cancel_closes_the_upstream_within_100_ms(dripping: tuple[Drip, Any]) -> None:
    """From the caller's cancel to the end of the upstream's connection: p99 under 0.1 s."""
    upstream, stub = dripping
    took = []
    for _ in range(50):
        stream = stub.Execute(pb.ExecuteRequest(prompt="hi"))
        await stream.read()
        await upstream.arrived.get()
        began = time.monotonic()
        stream.cancel()
        took.append(await upstream.left.get() - began)
    in_time(took)


async def test_a_cancel_before_the_first_token_does_too(dripping: tuple[Drip, Any]) -> None:
    """A model that has not answered at all is left just as fast, for both kinds of call."""
    upstream, stub = dripping
    upstream.mute = True
    took = []
    for number in range(50):
        asked = pb.ExecuteRequest if number % 2 else pb.ProcessRequest
        call = stub.Execute if number % 2 else stub.Process
        running = call(asked(prompt="hi"))
        await upstream.arrived.get()
        began = time.monotonic()
        running.cancel()
        took.append(await upstream.left.get() - began)
    upstream.mute = False
    in_time(took)


async def test_a_deadline_closes_the_upstream_within_100_ms(dripping: tuple[Drip, Any]) -> None:
    """A caller's deadline ends the upstream's connection as a cancel does."""
    upstream, stub = dripping
    took = []
    while len(took) < 50:
        began = time.monotonic()
        stream = stub.Execute(pb.ExecuteRequest(prompt="hi"), timeout=0.05)
        with pytest.raises(grpc.aio.AioRpcError):
            while await stream.read() is not grpc.aio.EOF:
                pass
        if upstream.arrived.empty():
            continue  # a deadline so short may pass before anybody was asked
        await upstream.arrived.get()
        took.append(await upstream.left.get() - began - 0.05)
    in_time(took)


async def monitoring(server: Process) -> metrics_pb.MonitoringMetrics:
    """Return the server's own figures."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub: Any = metrics_rpc.MetricsServiceStub(channel)
        answer = await stub.GetMonitoringMetrics(metrics_pb.GetMonitoringMetricsRequest())
        found: metrics_pb.MonitoringMetrics = answer.metrics
        return found


async def cancelled(stub: Any, number: int) -> None:
    """Cancel one stream: before its first event, after it, or by a deadline, in turn."""
    request = SILENT if number % 3 == 0 else STALLED
    stream = stub.Execute(request, timeout=0.05 if number % 3 == 2 else None)
    try:
        if number % 3 == 0:
            await asyncio.sleep(0.02)
        else:
            await stream.read()
    except grpc.aio.AioRpcError:
        return
    stream.cancel()


async def cancel_many(stub: Any, number: int) -> None:
    """Cancel so many streams, some at a time."""
    numbers = iter(range(number))

    async def work() -> None:
        for each in numbers:
            await cancelled(stub, each)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


async def test_ten_thousand_cancelled_streams_leave_nothing(
    server: Process, simulator: Process, stub: Any
) -> None:
    """No stream, task, connection or memory is left of them."""
    await cancel_many(stub, CANCELS // 5)
    await until(lambda: monitoring(server), lambda now: now.open_streams == 0)
    before, resident = await monitoring(server), server.resident_kib()
    await cancel_many(stub, CANCELS)
    after = await until(
        lambda: monitoring(server),
        lambda now: now.open_streams == now.executions_in_flight == now.upstream.in_use == 0,
    )
    assert 1 == after.rpcs_in_flight
    assert before.process.tasks + 3 >= after.process.tasks
    assert before.process.open_file_descriptors + 10 >= after.process.open_file_descriptors
    grown = server.resident_kib() - resident
    assert grown < GROWTH_KIB, f"{grown} KiB more"
    await until(lambda: stats_of(simulator), lambda now: now["streams_open"] == 0)
    assert '"level":"error"' not in server.log()


async def test_a_slow_reader_slows_the_upstream_down() -> None:
    """Who does not read stalls the upstream, and costs a bounded amount of memory."""
    # How much the upstream gets rid of before it stalls is up to the kernel's socket buffers.
    async with flood() as upstream, serving(upstream_at(upstream.url, **AS_IT_COMES)) as server:
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            streams = [
                rpc.ExecuteServiceStub(channel).Execute(pb.ExecuteRequest(prompt="hi"))
                for _ in range(8)
            ]
            for stream in streams:
                await stream.read()
            resident = server.resident_kib()
            taken = await settled(upstream)
            grown = server.resident_kib() - resident
            assert grown < SLOW_KIB, f"{grown} KiB for {taken} bytes that nobody reads"
            for _ in range(2000):
                assert (await streams[0].read()).HasField("delta")
            assert upstream.taken > taken
            for stream in streams:
                stream.cancel()
        await until(lambda: monitoring(server), lambda now: now.upstream.in_use == 0)


async def settled(upstream: Flood) -> int:
    """Return how many bytes the upstream could get rid of, once it cannot any more.

    Raises:
        AssertionError: it goes on and on.
    """
    end = time.monotonic() + 10
    while time.monotonic() < end:
        before = upstream.taken
        await asyncio.sleep(0.4)
        if upstream.taken == before:
            return before
    raise AssertionError(f"still taking after {upstream.taken} bytes")
