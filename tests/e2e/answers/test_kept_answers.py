"""Answers that are kept, shared and resumed, against the real server."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1.content_pb2 import GenerationConfig
from tests.support.messages.failures import broken_off, failure_of, rest_of
from tests.support.servers.process import serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")
COLD = GenerationConfig(temperature=0)
LONG = " ".join(f"word{number}" for number in range(60))
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both() -> AsyncIterator[tuple[Process, Any, str]]:
    """A paced simulator, and a stub of a server in front of it."""
    async with (
        simulating("--chunk-delay", "0.02") as simulator,
        serving(upstream_at(simulator.http, GEMINI_BACKEND_COALESCE__MODE="all")) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield simulator, rpc.ExecuteServiceStub(channel), server.grpc


def text_of(events: list[Any]) -> str:
    return "".join(part.text for event in events for part in event.delta.parts)


async def generated(simulator: Process) -> int:
    """Return how many streams the simulator was asked for."""
    return (await stats_of(simulator))["by_method"].get("streamGenerateContent", 0)


async def test_a_stampede_makes_one_upstream_call(both: tuple[Process, Any, str]) -> None:
    """100 identical concurrent streams make exactly 1 upstream call."""
    simulator, stub, _ = both
    before = await generated(simulator)
    request = pb.ExecuteRequest(prompt="[[fault: first_byte_delay seconds=1]] stampede " + LONG)
    answers = await asyncio.gather(*(rest_of(stub.Execute(request)) for _ in range(100)))
    after = await generated(simulator)
    assert 1 == len({text_of(events) for events in answers})
    assert 99 == sum(e[0].started.cache_status == pb.CACHE_STATUS_COALESCED for e in answers)
    assert all(list(range(1, len(e) + 1)) == [x.sequence for x in e] for e in answers)
    assert 1 == after - before


async def test_a_repeated_question_is_answered_from_the_cache(
    both: tuple[Process, Any, str],
) -> None:
    """A stream is cached, and replayed to streams and to whole answers."""
    _, stub, _ = both
    request = pb.ExecuteRequest(prompt="again " + LONG, generation_config=COLD)
    first = await rest_of(stub.Execute(request))
    began = time.monotonic()
    second = await rest_of(stub.Execute(request))
    took = time.monotonic() - began
    assert (pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_HIT, 3) == (
        first[0].started.cache_status,
        second[0].started.cache_status,
        len(second),
    )
    assert text_of(first) == text_of(second)
    whole = await stub.Process(pb.ProcessRequest.FromString(request.SerializeToString()))
    assert (pb.CACHE_STATUS_HIT, text_of(first)) == (
        whole.started.cache_status,
        "".join(p.text for p in whole.candidates[0].content.parts),
    )
    assert took < 0.1


@pytest.mark.parametrize("seen", [1, 2, 5])
async def test_a_lost_stream_is_resumed(both: tuple[Process, Any, str], seen: int) -> None:
    """What was lost comes after the last sequence seen, with no gap and nothing twice."""
    _, stub, address = both
    request = pb.ExecuteRequest(prompt=f"resume {seen} " + LONG, on_disconnect=KEEP)
    async with grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as own:
        stream = rpc.ExecuteServiceStub(own).Execute(request)
        events = [await stream.read() for _ in range(seen)]
    resume = pb.Resume(execution=events[0].execution, after_sequence=seen)
    await asyncio.sleep(0.1)
    events += await rest_of(stub.Execute(pb.ExecuteRequest(resume=resume)))
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
    assert events[-1].HasField("completed")
    again = await rest_of(stub.Execute(pb.ExecuteRequest(prompt=request.prompt)))
    assert text_of(again) == text_of(events)
    resume.after_sequence = 0
    assert events == await rest_of(stub.Execute(pb.ExecuteRequest(resume=resume)))


async def test_what_cannot_be_resumed_says_so(both: tuple[Process, Any, str]) -> None:
    """Unknown executions are NOT_FOUND; a whole answer has nothing to resume."""
    _, stub, _ = both
    _, failure = await broken_off(
        stub.Execute(pb.ExecuteRequest(resume=pb.Resume(execution="executions/no")))
    )
    assert "CALLER_UNKNOWN_RESOURCE" == failure.reason
    only = pb.CacheControl(mode=pb.CACHE_MODE_ONLY_IF_CACHED)
    failed = await failure_of(
        stub.Process(pb.ProcessRequest(prompt="never asked", cache_control=only))
    )
    assert "POLICY_NOT_CACHED" == failed.reason


async def test_a_cancelled_stream_says_how_to_keep_it(both: tuple[Process, Any, str]) -> None:
    """Leaving a stream by default closes upstream; it is told so afterwards."""
    _, stub, _ = both
    stream = stub.Execute(pb.ExecuteRequest(prompt="leave " + LONG))
    first = await stream.read()
    stream.cancel()
    await asyncio.sleep(0.2)
    resume = pb.ExecuteRequest(resume=pb.Resume(execution=first.execution, after_sequence=1))
    _, failure = await broken_off(stub.Execute(resume))
    assert "on_disconnect KEEP" in failure.message


async def test_dead_upstream_cached_answers_still_come() -> None:
    """With upstream gone a hit is a hit, and an old answer stands in where it is allowed."""
    async with simulating() as simulator:
        env = upstream_at(simulator.http, GEMINI_BACKEND_CACHE__TTL_SECONDS="1")
        async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
            stub = rpc.ExecuteServiceStub(channel)
            request = pb.ExecuteRequest(prompt="dead", generation_config=COLD)
            await rest_of(stub.Execute(request))
            await simulator.stop()
            hit = await rest_of(stub.Execute(request))
            assert pb.CACHE_STATUS_HIT == hit[0].started.cache_status
            await asyncio.sleep(1.1)
            request.fallback.allow_stale = True
            stale = await rest_of(stub.Execute(request))
            assert (pb.CACHE_STATUS_STALE, text_of(hit)) == (
                stale[0].started.cache_status,
                text_of(stale),
            )
            assert 1 <= len(stale[-1].completed.attempts)
