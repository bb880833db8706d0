"""`python -m bench.unread`: what a caller costs in memory that does not read its fast stream.

Each caller has a connection of its own, reads one message of an endless stream of 2 KB events, and
then no more.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc.aio
import uvloop

from bench.programs import BACKEND
from bench.programs.scripted_upstream import ScriptedUpstream
from bench.reports.alone import run_alone
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.programs import Service

CALLERS, GOAL_MB = 20, 0.5
WARM_UP_SECONDS, HOLD_SECONDS, SAMPLE_SECONDS = 1.0, 5.0, 0.25
_numbers = count()


@dataclass(frozen=True)
class Unread:
    """What the server was seen to hold, in MB of resident size.

    Attributes:
        before: the most while as many slow streams were open, which windows hold whole.
        most: the most while all of them did not read.
    """

    callers: int
    before: float
    most: float

    def each(self) -> float:
        """Returns what a caller adds."""
        return (self.most - self.before) / self.callers


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, or 1 when it failed or, with --check, the goal is missed."""
    return run_alone("bench.unread", __doc__, measure, _tell, arguments)


def _tell(found: Unread) -> bool:
    sys.stdout.write(
        f"{found.callers} callers that do not read: {found.before:.1f} -> {found.most:.1f} MB, "
        f"{found.each():.2f} MB each (goal {GOAL_MB} MB)\n"
    )
    return found.each() <= GOAL_MB


def measure(callers: int = CALLERS) -> Unread:
    """Starts the server and holds so many streams open that nobody reads.

    Raises:
        StartError: the server did not become ready.
        grpc.aio.AioRpcError: a stream failed before its first message.
    """
    return uvloop.run(_measure(callers))


async def _measure(callers: int) -> Unread:
    async with ScriptedUpstream() as upstream:
        service = await asyncio.to_thread(BACKEND.start, upstream.address)
        channels = [_channel(service.addresses["grpc"]) for _ in range(callers)]
        try:
            before = await _held(service, channels, "bench-ticking", WARM_UP_SECONDS)
            most = await _held(service, channels, "bench-flood", HOLD_SECONDS)
        finally:
            for channel in channels:
                await channel.close()
            await asyncio.to_thread(service.stop)
    return Unread(callers, before * 1024 / 1e6, most * 1024 / 1e6)


def _channel(address: str) -> grpc.aio.Channel:
    # or channels to one address share a connection
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


async def _held(
    service: Service, channels: Sequence[grpc.aio.Channel], model: str, seconds: float
) -> int:
    """Begins a stream per channel, and returns the most KiB seen while they are not read."""
    calls: list[Any] = []
    for channel in channels:
        stub: Any = execute_rpc.ExecuteServiceStub(channel)
        request = pb.ExecuteRequest(prompt=f"river {next(_numbers)}", model=model)
        calls.append(stub.Execute(request))
        await calls[-1].read()
    sizes = []
    for _ in range(round(seconds / SAMPLE_SECONDS)):
        await asyncio.sleep(SAMPLE_SECONDS)
        sizes.append(service.resident_kib())
    for call in calls:
        call.cancel()
    await asyncio.sleep(SAMPLE_SECONDS)
    return max(sizes)


if __name__ == "__main__":
    sys.exit(main())
