"""Memory is bounded, shared, and given back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.messages.failures import Failure
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
KIB_A_MIB = 1024
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
SMALL_SECONDS = 2.0


def large(mib: int) -> pb.ProcessRequest:
    """Return a request with so much of a picture."""
    blob = {"mime_type": "image/png", "data": b"a" * (mib * MIB)}
    return pb.ProcessRequest(contents=[{"parts": [{"inline_data": blob}, {"text": "what?"}]}])


async def sent(server: Process, request: pb.ProcessRequest, **options: object) -> str:
    """Send a request on a connection of its own; return OK, or the reason of its failure."""
    async with grpc.aio.insecure_channel(server.grpc, OPTIONS) as channel:
        try:
            await rpc.ExecuteServiceStub(channel).Process(request, timeout=100, **options)
        except grpc.aio.AioRpcError as error:
            return Failure.of(error).reason
    return "OK"


class Peak:
    """The largest size of a process, sampled."""

    def __init__(self, server: Process) -> None:
        self._server = server
        self.kib = 0

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            self.kib = max(self.kib, self._server.resident_kib())
            await asyncio.sleep(0.02)


async def settled(server: Process, most_kib: int, seconds: float = 20) -> int:
    """Return the size once it is small enough, or what it is after so many seconds."""
    end = time.monotonic() + seconds
    while (size := server.resident_kib()) > most_kib and time.monotonic() < end:
        await asyncio.sleep(0.2)
    return size


@pytest.fixture
async def limited(simulator: Process) -> AsyncIterator[Process]:
    """Run a server with 64 MiB for what is in flight."""
    limit = {"GEMINI_BACKEND_SERVER__MAX_MEMORY_MB": "64"}
    async with serving(upstream_at(simulator.http, **AS_IT_COMES, **limit)) as process:
        yield process


async def test_large_requests_wait_and_small_ones_pass(limited: Process) -> None:
    """Six of 8 MiB are worked on in turn; small ones pass meanwhile; then memory goes back."""
    assert "OK" == await sent(limited, pb.ProcessRequest(prompt="hi"))
    idle = limited.resident_kib()
    peak = Peak(limited)
    sampling = asyncio.create_task(peak.run())
    bulk = [asyncio.create_task(sent(limited, large(8))) for _ in range(6)]
    waits = []
    while not all(task.done() for task in bulk):
        began = time.monotonic()
        assert "OK" == await sent(limited, pb.ProcessRequest(prompt="hi"))
        waits.append(time.monotonic() - began)
        await asyncio.sleep(0.05)
    sampling.cancel()
    assert {"OK": 6} == Counter([await task for task in bulk])
    assert min(waits) < SMALL_SECONDS
    assert sorted(waits)[len(waits) // 2] < SMALL_SECONDS
    assert peak.kib - idle < 200 * KIB_A_MIB
    assert await settled(limited, idle + 30 * KIB_A_MIB) - idle < 30 * KIB_A_MIB


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_are_read_and_bombs_are_not(
    limited: Process, how: grpc.Compression
) -> None:
    """Whatever they would unpack to, they take no more than a message may have."""
    assert "OK" == await sent(limited, pb.ProcessRequest(prompt="a" * 5_000), compression=how)
    assert "OK" == await sent(limited, pb.ProcessRequest(prompt="a" * 500_000), compression=how)
    idle = limited.resident_kib()
    peak = Peak(limited)
    sampling = asyncio.create_task(peak.run())
    bomb = large(100)
    found = [await sent(limited, bomb, compression=how) for _ in range(2)]
    sampling.cancel()
    assert ["CALLER_MESSAGE_TOO_LARGE"] * 2 == found
    assert peak.kib - idle < 150 * KIB_A_MIB


async def test_an_absurd_limit_is_refused() -> None:
    """A budget that fits nothing, or is below nothing, is a mistake."""
    for value in ("-1", "5", "99999999"):
        with pytest.raises(AssertionError, match="max_memory_mb"):
            async with serving({"GEMINI_BACKEND_SERVER__MAX_MEMORY_MB": value}):
                pass
