"""Sessions on the real server: what is kept through kills, losses of connection, bad files."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1.content_pb2 import GenerationConfig
from tests.support.messages.failures import Failure, broken_off, failure_of, rest_of
from tests.support.servers.conversations import Desk, answering, create, said, state_in
from tests.support.servers.process import serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG = " ".join(f"word{number}" for number in range(60))
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
DRAIN = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_DRAIN)
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
_names = (f"s{number}" for number in itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk() -> AsyncIterator[Desk]:
    """A server in front of a simulator that takes its time."""
    async with (
        simulating("--chunk-delay", "0.02") as simulator,
        serving(upstream_at(simulator.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield Desk(channel, server, simulator)


async def test_a_lost_connection_keeps_what_was_asked_to_be_kept(desk: Desk) -> None:
    """CANCEL leaves no turn; KEEP and DRAIN leave one when the execution has completed."""
    for how, expected in ((pb.OnDisconnect(), 0), (KEEP, 1), (DRAIN, 1)):
        name = await create(desk.sessions, next(_names))
        request = pb.ExecuteRequest(prompt=LONG, session=name, on_disconnect=how)
        async with grpc.aio.insecure_channel(desk.server.grpc, OWN_CONNECTION) as own:
            stream = execute_rpc.ExecuteServiceStub(own).Execute(request)
            first = await stream.read()
        if expected:
            turns = await until(lambda name=name: desk.turns(name), bool)
            assert [first.execution] == [turn.execution for turn in turns]
        else:
            await asyncio.sleep(1)
            assert [] == await desk.turns(name)
        await said(desk.execute, pb.ExecuteRequest(prompt="on", session=name), whole=True)
        assert expected + 1 == len(await desk.turns(name))


async def test_what_is_resumed_is_one_turn(desk: Desk) -> None:
    """A stream of a session that is lost and resumed comes whole, and is kept once."""
    name = await create(desk.sessions, next(_names))
    request = pb.ExecuteRequest(prompt=LONG, session=name, on_disconnect=KEEP)
    async with grpc.aio.insecure_channel(desk.server.grpc, OWN_CONNECTION) as own:
        stream = execute_rpc.ExecuteServiceStub(own).Execute(request)
        events = [await stream.read() for _ in range(2)]
    resume = pb.Resume(execution=events[0].execution, after_sequence=2)
    events += await rest_of(desk.execute.Execute(pb.ExecuteRequest(resume=resume)))
    (turn,) = await desk.turns(name)
    text = "".join(part.text for event in events for part in event.delta.parts)
    assert text == "".join(part.text for part in turn.output.parts)


async def test_two_at_once_through_the_server(desk: Desk) -> None:
    """Ten turns at once on one session become ten turns, each with those before it."""
    name = await create(desk.sessions, next(_names))
    asked = [pb.ExecuteRequest(prompt=f"[[echo]] q{n} ", session=name) for n in range(10)]
    await asyncio.gather(
        *(said(desk.execute, one, whole=n % 2 == 0) for n, one in enumerate(asked))
    )
    turns = await desk.turns(name)
    assert sorted(one.prompt for one in asked) == sorted(
        turn.inputs[0].parts[0].text for turn in turns
    )
    counts = [turn.usage.prompt_token_count for turn in turns]
    assert sorted(set(counts)) == counts
    strict = await create(
        desk.sessions, next(_names), concurrency=sessions.SESSION_CONCURRENCY_REFUSE
    )
    first = desk.execute.Execute(pb.ExecuteRequest(prompt=LONG, session=strict))
    await first.read()
    second = desk.execute.Process(pb.ProcessRequest(prompt="b", session=strict))
    failure = await failure_of(second)
    assert (grpc.StatusCode.ABORTED, "CALLER_CONFLICT") == (failure.code, failure.reason)
    await rest_of(first)


async def test_sessions_share_runs_and_cached_answers(desk: Desk) -> None:
    """Two sessions that say the same share what is shared, and each has its own turn."""
    cold = GenerationConfig(temperature=0)
    names = [await create(desk.sessions, next(_names)) for _ in range(3)]
    before = (await stats_of(desk.simulator))["by_method"].get("streamGenerateContent", 0)
    requests = [
        pb.ExecuteRequest(prompt=f"same {LONG}", session=name, generation_config=cold)
        for name in names
    ]
    streams = [said(desk.execute, request, whole=False) for request in requests[:2]]
    together = await asyncio.gather(*streams)
    hit = await said(desk.execute, requests[2], whole=False)
    after = (await stats_of(desk.simulator))["by_method"].get("streamGenerateContent", 0)
    assert 1 == after - before
    assert {pb.CACHE_STATUS_MISS, pb.CACHE_STATUS_COALESCED} == {
        events[0].started.cache_status for events in together
    }
    assert pb.CACHE_STATUS_HIT == hit[0].started.cache_status
    outputs = [(await desk.turns(name))[0].output for name in names]
    assert outputs[0].parts[0].text
    assert outputs[0] == outputs[1] == outputs[2]
    get = sessions.GetSessionRequest
    used = [
        (await desk.sessions.GetSession(get(name=name))).session.usage.total_token_count
        for name in names
    ]
    assert (1, 0) == (sum(count > 0 for count in used), used[2])
    for request in requests:
        request.prompt = "and now?"
    answers = [await said(desk.execute, request, whole=True) for request in requests]
    assert 2 == sum(a[0].started.cache_status == pb.CACHE_STATUS_HIT for a in answers)


async def test_a_failed_turn_can_be_sent_again(desk: Desk) -> None:
    """A stream that breaks off leaves no turn; the same turn again is the first one."""
    name = await create(desk.sessions, next(_names))
    request = pb.ExecuteRequest(prompt=f"[[fault: cut after=3]] {LONG}", session=name)
    events, failure = await broken_off(desk.execute.Execute(request))
    assert ("UPSTREAM_STREAM_CUT", True) == (failure.reason, len(events) > 1)
    assert [] == await desk.turns(name)
    request.prompt = LONG
    await said(desk.execute, request, whole=False)
    assert [1] == [turn.index for turn in await desk.turns(name)]


# without a vocabulary the numbers are the same on every machine
ESTIMATED = {"GEMINI_BACKEND_TOKENS__VOCABULARY_FILE": "/nowhere/tokenizer.json"}
SMALL = {
    "name": "models/small",
    "inputTokenLimit": 3000,
    "outputTokenLimit": 100,
    "supportedGenerationMethods": ["generateContent"],
}


@pytest.mark.parametrize("overflow", ["DROP_OLDEST", "SUMMARIZE", "REFUSE"])
async def test_a_conversation_is_kept_within_the_model(tmp_path: Path, overflow: str) -> None:
    """Beyond the limit that the model API lists, older turns go, or a summary stands for them."""
    async with (
        answering(SMALL) as answerer,
        serving(state_in(tmp_path, **upstream_at(answerer.url), **ESTIMATED)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        desk = Desk(channel, server, server)
        mode = sessions.SessionOverflow.Value(f"SESSION_OVERFLOW_{overflow}")
        name = await create(desk.sessions, overflow=mode, model="small")
        starts, reason = [], ""
        for number in range(8):
            text = f"q{number} " + "words " * 300
            try:
                asked = pb.ProcessRequest(prompt=text, session=name)
                starts.append((await desk.execute.Process(asked)).started)
            except grpc.RpcError as error:
                reason = Failure.of(error).reason
        get = sessions.GetSessionRequest(name=name)
        session = (await desk.sessions.GetSession(get)).session
        first = answerer.asked[-1]["contents"][0]["parts"][0]["text"]
    if overflow == "REFUSE":
        assert ("CALLER_CONTEXT_TOO_LONG", 4) == (reason, session.turn_count)
    elif overflow == "SUMMARIZE":
        assert ("ok", 8) == (session.summary, session.turn_count)
        assert first.startswith("Summary of our conversation so far")
        assert all(not started.HasField("truncation") for started in starts)
    else:
        assert (8, "q4") == (session.turn_count, first[:2])
        assert [0] * 4 + [1, 2, 3, 4] == [started.truncation.dropped_turns for started in starts]
