"""`python -m bench.sessions`: what a turn of a session costs, against the same without a session.

One server, four loads in turns: a question alone and as the first turn of a session; a
conversation that the caller sends whole, and the same one that a session holds. Streams of 20
events, 20 ms apart, begin at random moments, the same ones for each load.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from bench.measures.comparisons import Comparison, comparison_table
from bench.programs.build import BuildError, build
from bench.programs.processes import StartError, start
from bench.programs.targets import COMMAND, backend_settings, start_upstream
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from gemini.backend.v1.content_pb2 import Content, Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.programs.processes import Service

STREAMS, RATE, ROUNDS, WARM_UP = 200, 50.0, 5, 20
TURNS, MODEL = 10, "bench-paced-20"
LIMIT = 1.15
_numbers = count(1)
Make = Callable[[int], pb.ExecuteRequest]


@dataclass
class Load:
    """One way to ask: with a session or without, in how long a conversation."""

    title: str
    turns: int
    session: bool
    cpu_us: list[float] = field(default_factory=list)

    async def requests(self, channel: grpc.aio.Channel, number: int) -> list[pb.ExecuteRequest]:
        """Returns as many requests, all different; sessions are made here, and not measured."""
        made = []
        for _ in range(number):
            prompt = f"Write a few sentences about river {next(_numbers)}."
            before = _conversation(self.turns)
            if self.session:
                name = await _session(channel, before)
                made.append(pb.ExecuteRequest(prompt=prompt, model=MODEL, session=name))
            elif before:
                asked = Content(role="user", parts=[Part(text=prompt)])
                made.append(pb.ExecuteRequest(contents=[*before, asked], model=MODEL))
            else:
                made.append(pb.ExecuteRequest(prompt=prompt, model=MODEL))
        return made


def main() -> int:
    """Measures, and prints a table; returns 0, or 1 when it failed or costs more than it may."""
    try:
        upstream = start_upstream(build().upstream)
        try:
            found = measure(upstream)
        finally:
            upstream.stop()
    except (BuildError, StartError, grpc.aio.AioRpcError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    sys.stdout.write(comparison_table(found) + "\n")
    return 1 if any(one.ratio() > LIMIT for one in found) else 0


def measure(upstream: Service, rounds: int = ROUNDS) -> list[Comparison]:
    """Compares a session's first and eleventh turn with the same without one, in turns.

    Raises:
        grpc.aio.AioRpcError: a stream failed.
    """
    loads = [
        Load("a question, paced stream", 0, session=False),
        Load("a session's first turn", 0, session=True),
        Load(f"a conversation of {TURNS} turns, sent whole", TURNS, session=False),
        Load(f"turn {TURNS + 1} of a session", TURNS, session=True),
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = backend_settings(upstream.addresses["upstream"])
        settings["GEMINI_BACKEND_STATE__DIR"] = folder
        service = start("gemini-backend", [str(COMMAND), "serve"], settings)
        try:
            uvloop.run(_measure(service, loads, rounds))
        finally:
            service.stop()
    return [
        Comparison(own.title, other.title, own.cpu_us, other.cpu_us, LIMIT)
        for other, own in (loads[:2], loads[2:])
    ]


async def _measure(service: Service, loads: Sequence[Load], rounds: int) -> None:
    address = service.addresses["grpc"]
    async with grpc.aio.insecure_channel(address) as channel:
        for load in loads:
            await _run(channel, await load.requests(channel, WARM_UP), 0)
        for seed in range(rounds):
            for load in loads:
                requests = await load.requests(channel, STREAMS)
                before = service.cpu_us()
                await _run(channel, requests, seed)
                load.cpu_us.append((service.cpu_us() - before) / STREAMS)


async def _run(channel: grpc.aio.Channel, requests: Sequence[pb.ExecuteRequest], seed: int) -> None:
    """Reads every stream to its end.

    Raises:
        grpc.aio.AioRpcError: one failed.
    """
    stub: Any = execute_rpc.ExecuteServiceStub(channel)
    pauses = random.Random(seed)

    async def read(request: pb.ExecuteRequest) -> None:
        async for _ in stub.Execute(request):
            pass

    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(read(request))
            await asyncio.sleep(pauses.expovariate(RATE))


def _conversation(turns: int) -> list[Content]:
    text = "The river runs from the hills to the sea, past towns and fields. " * 3
    return [
        Content(role=role, parts=[Part(text=f"{number}: {text}")])
        for number in range(turns)
        for role in ("user", "model")
    ]


async def _session(channel: grpc.aio.Channel, history: Sequence[Content]) -> str:
    stub: Any = session_rpc.SessionServiceStub(channel)
    request = sessions.CreateSessionRequest(history=history)
    made: sessions.CreateSessionResponse = await stub.CreateSession(request)
    return made.session.name


if __name__ == "__main__":
    sys.exit(main())
