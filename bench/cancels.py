"""`python -m bench.cancels`: how soon after a caller's cancel the request to Gemini is closed.

Calls are cancelled at different moments: before the upstream has answered, after the head of its
answer, and in the middle of a stream; some while others are being streamed.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc.aio
import uvloop

from bench.programs import BACKEND, percentile
from bench.programs.scripted_upstream import ScriptedUpstream
from bench.reports.alone import run_alone
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc

if TYPE_CHECKING:
    from collections.abc import Sequence

EACH, WARM_UP, GOAL_MS = 50, 5, 5.0
WAIT_SECONDS = 5.0
# The moment of the cancel, by name: the model, whether it is a stream, and after how many events.
MOMENTS = {
    "a whole answer, before it came": ("bench-silent", False, 0),
    "a stream, before its head": ("bench-silent", True, 0),
    "a stream, after its head": ("bench-head", True, 0),
    "a stream, in the middle": ("bench-ticking", True, 3),
}


@dataclass
class Cancels:
    """Milliseconds from the cancel to the close, by the moment of the cancel.

    Attributes:
        errors: cancels after which the request was not closed within 5 seconds.
    """

    by_moment: dict[str, list[float]] = field(default_factory=dict)
    errors: int = 0

    def all_ms(self) -> list[float]:
        """Returns the times of all moments."""
        return [one for times in self.by_moment.values() for one in times]

    def p50(self) -> float:
        """Returns the median in milliseconds."""
        return percentile(self.all_ms(), 50)

    def p99(self) -> float:
        """Returns the 99th percentile in milliseconds."""
        return percentile(self.all_ms(), 99)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; returns 0, or 1 when it failed or, with --check, the goal is missed."""
    return run_alone("bench.cancels", __doc__, measure, _tell, arguments)


def _tell(found: Cancels) -> bool:
    for moment, times in found.by_moment.items():
        sys.stdout.write(
            f"{moment}: p50 {percentile(times, 50):.2f} ms, p99 {percentile(times, 99):.2f} ms\n"
        )
    sys.stdout.write(
        f"all {len(found.all_ms())}: p50 {found.p50():.2f} ms, p99 {found.p99():.2f} ms "
        f"(goal {GOAL_MS:g} ms), {found.errors} not closed\n"
    )
    return not found.errors and found.p99() <= GOAL_MS


def measure(each: int = EACH) -> Cancels:
    """Starts the server and cancels so many calls at each moment.

    Raises:
        StartError: the server did not become ready.
    """
    return uvloop.run(_measure(each))


async def _measure(each: int) -> Cancels:
    found, draw, number = Cancels(), random.Random(1), 0
    async with ScriptedUpstream() as upstream:
        service = await asyncio.to_thread(BACKEND.start, upstream.address)
        try:
            async with grpc.aio.insecure_channel(service.addresses["grpc"]) as channel:
                stub: Any = execute_rpc.ExecuteServiceStub(channel)
                others = [_other(stub, 1000 + number) for number in range(2)]
                for turn in range(WARM_UP + each):
                    for moment in MOMENTS:
                        number += 1
                        took = await _cancel(stub, upstream, moment, number + 2000, draw)
                        if took is None:
                            found.errors += 1
                        elif turn >= WARM_UP:
                            found.by_moment.setdefault(moment, []).append(took)
                for other in others:
                    other.cancel()
        finally:
            await asyncio.to_thread(service.stop)
    return found


def _other(stub: Any, number: int) -> Any:
    """Begins a stream that goes on beside the cancelled ones."""
    return stub.Execute(pb.ExecuteRequest(prompt=f"river {number}", model="bench-ticking"))


async def _cancel(
    stub: Any, upstream: ScriptedUpstream, moment: str, number: int, draw: random.Random
) -> float | None:
    """Returns the milliseconds until the upstream saw the end; None where it did not."""
    model, streams, events = MOMENTS[moment]
    call = (
        stub.Execute(pb.ExecuteRequest(prompt=f"river {number}", model=model))
        if streams
        else stub.Process(pb.ProcessRequest(prompt=f"river {number}", model=model))
    )
    reading = asyncio.ensure_future(_read(call, events)) if events else None
    await upstream.asked[number].wait()
    if reading:
        await reading
    await asyncio.sleep(draw.uniform(0, 0.02))
    begin = time.perf_counter()
    call.cancel()
    try:
        ended = await asyncio.wait_for(upstream.closed[number], WAIT_SECONDS)
    except TimeoutError:
        return None
    return (ended - begin) * 1e3


async def _read(call: Any, events: int) -> None:
    for _ in range(events):
        await call.read()


if __name__ == "__main__":
    sys.exit(main())
