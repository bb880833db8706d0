"""Batches, against the real server: partial failure, sharing, cancel, and who goes first."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini_backend_client import AsyncClient, GeminiBackendError
from tests.support.servers.process import serving, upstream_at
from tests.support.upstreams.raw_upstreams import Drip, drip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

SLOW = "[[fault: first_byte_delay seconds=0.5]]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Process]:
    """Run a server on the simulator with two slots and few retries."""
    limits = {
        "GEMINI_BACKEND_ADMISSION__MAX_CONCURRENT_REQUESTS": "2",
        "GEMINI_BACKEND_RETRY__ENABLED": "false",
        "GEMINI_BACKEND_BREAKER__ENABLED": "false",
        "GEMINI_BACKEND_EXECUTION__BATCH_CONCURRENCY": "8",
    }
    async with serving(limits) as process:
        yield process


async def test_every_item_has_one_result_and_failures_stay_their_own(server: Process) -> None:
    """Of 200 items, faulty, invalid and good ones mixed, each comes once with its own outcome."""
    kinds = ("say {}", "[[fault: overloaded]] {}", "say {}", " ")
    prompts = [kinds[number % 4].format(number) for number in range(200)]
    request = pb.BatchExecuteRequest(items=[pb.ExecuteRequest(prompt=one) for one in prompts])
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub = rpc.ExecuteServiceStub(channel)
        results = [one async for one in stub.BatchExecute(request)]
    assert list(range(200)) == sorted(one.index for one in results)
    codes = {one.index: one.error.code for one in results}
    assert {0: {0}, 1: {14}, 2: {0}, 3: {3}} == {
        kind: {codes[index] for index in range(kind, 200, 4)} for kind in range(4)
    }
    for one in results:
        if one.HasField("response"):
            text = one.response.candidates[0].content.parts[0].text
            assert f"say {one.index}" in text


async def test_identical_items_cost_one_call(server: Process) -> None:
    """Fifty identical items: one is made, the others are told that they share it."""
    async with AsyncClient(server.grpc) as client:
        results = [one async for one in client.batch([f"{SLOW} same"] * 50)]
    statuses = [one.result().response.started.cache_status for one in results]
    assert (1, 49) == (
        statuses.count(pb.CACHE_STATUS_MISS) + statuses.count(pb.CACHE_STATUS_BYPASS),
        statuses.count(pb.CACHE_STATUS_COALESCED),
    )


async def test_who_waits_for_an_answer_overtakes_a_batch(server: Process) -> None:
    """With every slot taken, an interactive call gets the next one that is free."""
    ended: list[str] = []

    async def batch(client: AsyncClient) -> None:
        async for one in client.batch([f"{SLOW} item {number}" for number in range(12)]):
            one.result()
            ended.append("item")

    async with AsyncClient(server.grpc) as client:
        running = asyncio.create_task(batch(client))
        await asyncio.sleep(0.2)  # until both slots are taken
        await client.process("quick")
        ended.append("quick")
        await running
    assert ended.index("quick") <= 4


async def test_cancelling_a_batch_closes_every_upstream_call() -> None:
    """When the caller leaves, all running items leave upstream at once, and none follows."""
    async with drip() as upstream:
        stays = upstream_at(upstream.url, GEMINI_BACKEND_EXECUTION__BATCH_CONCURRENCY="5")
        async with serving(stays) as process, grpc.aio.insecure_channel(process.grpc) as channel:
            items = [pb.ExecuteRequest(prompt=f"item {number}") for number in range(30)]
            stub = rpc.ExecuteServiceStub(channel)
            stream: Any = stub.BatchExecute(pb.BatchExecuteRequest(items=items))
            await _arrived(upstream, 5)
            began = time.monotonic()
            stream.cancel()
            for _ in range(5):
                await asyncio.wait_for(upstream.left.get(), 5)
            assert time.monotonic() - began < 1
            await asyncio.sleep(0.2)
            assert upstream.arrived.empty()


async def test_a_batch_ends_with_its_deadline() -> None:
    """Items without a result by then end with the call."""
    async with (
        drip() as upstream,
        serving(upstream_at(upstream.url)) as process,
        AsyncClient(process.grpc) as client,
    ):
        with pytest.raises(GeminiBackendError) as failed:
            _ = [one async for one in client.batch(["a", "b"], timeout=0.5) if one.result()]
    assert grpc.StatusCode.DEADLINE_EXCEEDED == failed.value.code


async def _arrived(upstream: Drip, count: int) -> None:
    for _ in range(count):
        await asyncio.wait_for(upstream.arrived.get(), 10)
