"""`python -m bench.queueing`: what admission costs a call, by how many calls wait already."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import uvloop

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call, FixedBudget
from gemini_backend.clock import SystemClock
from gemini_backend.config.sections.flow import AdmissionOptions
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.principal import Principal

DEPTHS = (100, 1_000, 10_000)
ROUNDS = 5
TENANTS = 10


async def cost(depth: int) -> float:
    """Returns the CPU time, in µs, of one call that waits behind `depth` others, and passes."""
    clock = SystemClock()
    options = AdmissionOptions(max_concurrent_requests=1, max_queued=depth + 200)
    admission = Admission(lambda: options, clock, FixedLimit(lambda: options))
    request = pb.ExecuteRequest(prompt="x", model="models/a")
    opened = asyncio.Event()
    run = Pipeline(admission)

    async def answer(_call: Call, _request: Any) -> None:
        await opened.wait()

    def enter(number: int) -> asyncio.Future[None]:
        tenant = Principal(tenant=f"t{number % TENANTS}")
        call = Call(
            "/x",
            f"e{number}",
            clock.now(),
            budget=FixedBudget(clock.now() + 3600),
            principal=tenant,
        )
        return asyncio.ensure_future(run.unary(answer)(call, request))

    waiting = [enter(number) for number in range(depth)]
    await asyncio.sleep(0)
    began = time.process_time()
    waiting += [enter(number) for number in range(100)]
    await asyncio.sleep(0)
    entering = time.process_time() - began
    opened.set()
    began = time.process_time()
    await asyncio.gather(*waiting, return_exceptions=True)
    leaving = time.process_time() - began
    return (entering / 100 + leaving / len(waiting)) * 1e6


async def main() -> None:
    """Prints one line a depth."""
    for depth in DEPTHS:
        best = min([await cost(depth) for _ in range(ROUNDS)])
        sys.stdout.write(f"{depth:>6} waiting: {best:.1f} µs a call\n")


if __name__ == "__main__":
    uvloop.run(main())
