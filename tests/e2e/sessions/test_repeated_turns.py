"""Turns that are sent again, on the real server: each is stored, and paid for, once."""

from __future__ import annotations

import asyncio
import itertools
import signal
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend_client import AsyncClient, RetryPolicy, UnavailableError
from tests.support.messages.failures import failure_of, rest_of
from tests.support.servers.breakable_wire import wire_to
from tests.support.servers.conversations import Desk, create, said, state_in
from tests.support.servers.process import serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")
LONG = " ".join(f"word{number}" for number in range(60))
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
REFUSE = sessions.SESSION_CONCURRENCY_REFUSE
_names = (f"repeated{number}" for number in itertools.count())
ways = pytest.mark.parametrize("whole", [True, False], ids=["whole", "stream"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk() -> AsyncIterator[Desk]:
    """A server in front of a simulator that takes its time."""
    async with (
        simulating("--chunk-delay", "0.02") as simulator,
        serving(upstream_at(simulator.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield Desk(channel, server, simulator)


async def generated(simulator: Process) -> int:
    """Return how many answers the simulator was asked for."""
    counts = (await stats_of(simulator))["by_method"]
    return sum(counts.get(method, 0) for method in ("generateContent", "streamGenerateContent"))


def text_of(events: list[Any]) -> str:
    """Return the text of a whole answer, or of a stream's events."""
    parts = [part for one in events for part in getattr(one, "delta", pb.Delta()).parts]
    if isinstance(events[0], pb.ProcessResponse):
        parts = [*events[0].candidates[0].content.parts]
    return "".join(part.text for part in parts)


async def bill(desk: Desk, name: str) -> tuple[int, int]:
    """Return what a session has cost, and what its turns have."""
    answer = await desk.sessions.GetSession(sessions.GetSessionRequest(name=name))
    turns = await desk.turns(name)
    return (answer.session.cost.cost_nano_usd, sum(turn.cost.cost_nano_usd for turn in turns))


async def test_many_callers_with_one_id_are_one_turn(desk: Desk) -> None:
    """Eight at once, streams and whole answers, on a session that refuses others: one is run."""
    name = await create(desk.sessions, next(_names), concurrency=REFUSE)
    before = await generated(desk.simulator)
    asked = pb.ExecuteRequest(prompt=LONG, session=name, request_id="one")
    answers = await asyncio.gather(*(said(desk.execute, asked, whole=n % 2 == 0) for n in range(8)))
    (turn,) = await desk.turns(name)
    assert 1 == await generated(desk.simulator) - before
    assert {text_of(answers[0])} == {text_of(events) for events in answers}
    assert {"": 1, turn.execution: 7} == {
        one: [events[0].started.replay_of for events in answers].count(one)
        for one in ("", turn.execution)
    }
    total, of_turns = await bill(desk, name)
    assert (total, True) == (of_turns, total > 0)
    other = pb.ProcessRequest(prompt="other", session=name, request_id="one")
    assert "CALLER_CONFLICT" == (await failure_of(desk.execute.Process(other))).reason


@ways
async def test_a_kept_run_is_what_its_repetition_gets(desk: Desk, whole: bool) -> None:
    """Whoever lost a kept run and sends it again waits for it, and is given its answer."""
    name = await create(desk.sessions, next(_names))
    before = await generated(desk.simulator)
    asked = pb.ExecuteRequest(prompt=LONG, session=name, request_id="one", on_disconnect=KEEP)
    async with grpc.aio.insecure_channel(desk.server.grpc, OWN_CONNECTION) as own:
        first = await execute_rpc.ExecuteServiceStub(own).Execute(asked).read()
    again = await said(desk.execute, asked, whole=whole)
    (turn,) = await desk.turns(name)
    assert [first.execution] * 2 == [again[0].started.replay_of, turn.execution]
    assert 1 == await generated(desk.simulator) - before


@ways
async def test_a_run_that_ended_with_its_caller_is_run_again(desk: Desk, whole: bool) -> None:
    """With CANCEL a lost connection leaves nothing, so the repetition is the turn."""
    name = await create(desk.sessions, next(_names), concurrency=REFUSE)
    asked = pb.ExecuteRequest(prompt=LONG, session=name, request_id="one")
    async with grpc.aio.insecure_channel(desk.server.grpc, OWN_CONNECTION) as own:
        first = await execute_rpc.ExecuteServiceStub(own).Execute(asked).read()
    again = await said(desk.execute, asked, whole=whole)
    (turn,) = await desk.turns(name)
    assert ("", again[0].execution) == (again[0].started.replay_of, turn.execution)
    assert first.execution != turn.execution


async def test_a_batch_that_is_sent_again_is_stored_once(desk: Desk) -> None:
    """Items of a session are turns; each is known by its own id."""
    name = await create(desk.sessions, next(_names))
    items = [
        pb.ExecuteRequest(prompt=f"q{n}", session=name, request_id=f"item-{n}") for n in range(3)
    ]
    request = pb.BatchExecuteRequest(items=[*items, items[0]])
    executions = []
    for _ in range(2):
        results = await rest_of(desk.execute.BatchExecute(request))
        replays = {one.index: one.response.started.replay_of for one in results}
        executions.append([replays[index] for index in range(4)])
    turns = {turn.request_id: turn.execution for turn in await desk.turns(name)}
    stored = [turns[item.request_id] for item in request.items]
    assert (3, stored) == (len(turns), executions[1])
    assert 1 == sum(bool(one) for one in executions[0])


async def test_the_client_repeats_a_turn_whose_answer_was_lost(desk: Desk) -> None:
    """The connection breaks when the answer is on its way: one call, one turn, one cost."""
    name = await create(desk.sessions, next(_names))
    before = await generated(desk.simulator)
    retry = RetryPolicy(initial_backoff=0.05, max_backoff=0.1)
    async with wire_to(desk.server.grpc) as wire, AsyncClient(wire.address, retry=retry) as client:
        wire.loses_next = len(LONG)  # no frame but the answer's is as long
        answer = await client.session(name).process(LONG)
    (turn,) = await desk.turns(name)
    total, of_turns = await bill(desk, name)
    assert (1, total) == (await generated(desk.simulator) - before, of_turns)
    assert (turn.execution, 0) == (answer.replay_of, answer.response.cost.cost_nano_usd)
    assert total == answer.response.cost.saved_nano_usd > 0
    assert "".join(part.text for part in turn.output.parts) == answer.text


async def test_the_client_deletes_what_was_deleted_already(desk: Desk) -> None:
    """A deletion whose answer was lost is no error when it is sent again."""
    name = await create(desk.sessions, next(_names))
    retry = RetryPolicy(initial_backoff=0.05, max_backoff=0.1)
    async with wire_to(desk.server.grpc) as wire, AsyncClient(wire.address, retry=retry) as client:
        await client.sessions.get(name)
        wire.loses_next = 0
        await client.sessions.delete(name)
        assert [] == [one.name async for one in client.sessions.list() if one.name == name]


@pytest.mark.parametrize("when", ["completed", "half"])
async def test_a_killed_server_stores_a_turn_once(tmp_path: Path, when: str) -> None:
    """After `kill -9` the new server knows the turn, or runs it; asked twice more it is one."""
    async with simulating("--chunk-delay", "0.1") as simulator:
        env = state_in(tmp_path, **upstream_at(simulator.http))
        async with serving(env) as server, AsyncClient(server.grpc) as client:
            name = (await client.sessions.create("s")).name
            first = client.session(name).execute(LONG, request_id="one")
            with pytest.raises(UnavailableError):
                async for event in first.events():
                    if when == "half" or event.HasField("completed"):
                        await server.stop(signal.SIGKILL)
                        break
                await client.health()
        async with serving(env) as server, AsyncClient(server.grpc) as client:
            talk = client.session(name)
            second = await talk.process(LONG, request_id="one")
            third = await talk.execute(LONG, request_id="one").result()
            turns = [turn async for turn in client.sessions.turns(name)]
            session = await client.sessions.get(name)
    stored = first.execution_id if when == "completed" else second.execution_id
    assert [(stored, "one")] == [(turn.execution, turn.request_id) for turn in turns]
    assert [stored if when == "completed" else "", stored] == [second.replay_of, third.replay_of]
    assert (second.text, True) == (third.text, bool(third.text))
    assert turns[0].cost.cost_nano_usd == session.cost.cost_nano_usd > 0
