"""Executions by name, on the real server: known before any wait, resumed, read, cancelled."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from google.rpc import status_pb2
from google.rpc.error_details_pb2 import ErrorInfo

from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from tests.support.layers.inproc import collect
from tests.support.servers.breakable_wire import wire_to
from tests.support.servers.conversations import answering
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.support.servers.simulator_stack import Stack, stack, text_of
from tests.support.upstreams.raw_upstreams import flood

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = " ".join(f"word{number}" for number in range(40))
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
DRAIN = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_DRAIN)
# The model thinks for so long; nobody waits for it to the end.
THINKS = "[[fault: first_byte_delay seconds=60]]"
PAUSES = "[[fault: first_byte_delay seconds=1.5]]"


def process(one: Stack, **fields: Any) -> Any:
    """Call Process as if it streamed: Python's own call shows initial metadata at its end only."""
    call = one.channel.unary_stream(
        "/gemini.backend.v1.ExecuteService/Process",
        pb.ExecuteRequest.SerializeToString,
        pb.ProcessResponse.FromString,
    )
    return call(pb.ExecuteRequest(**fields))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one() -> AsyncIterator[Stack]:
    """Run a simulator, whose pieces come every 50 ms, and a server."""
    async with stack("--chunk-delay", "0.05") as running:
        yield running


async def name_of(call: Any) -> str:
    """Return the name that the initial metadata of a call have."""
    return str(dict(await asyncio.wait_for(call.initial_metadata(), 5))["gemini-backend-execution"])


async def get(one: Stack, name: str) -> pb.Execution:
    answer: Any = await one.stub.GetExecution(pb.GetExecutionRequest(name=name))
    execution: pb.Execution = answer.execution
    return execution


async def cancel(one: Stack, name: str) -> pb.Execution:
    answer: Any = await one.stub.CancelExecution(pb.CancelExecutionRequest(name=name))
    execution: pb.Execution = answer.execution
    return execution


async def until_state(one: Stack, name: str, state: pb.ExecutionState.ValueType) -> pb.Execution:
    """Return an execution once it is in a state."""
    async with asyncio.timeout(10):
        while (found := await get(one, name)).state != state:
            await asyncio.sleep(0.02)
    return found


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    """Return how a call fails."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await (call if isinstance(call, grpc.aio.UnaryUnaryCall) else collect(call))
    return failed.value


def reason_of(failed: grpc.aio.AioRpcError) -> str:
    trailers: Any = failed.trailing_metadata()
    status = status_pb2.Status.FromString(dict(trailers)["grpc-status-details-bin"])
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


@dataclass
class Lost:
    """An execution whose connection was cut."""

    name: str
    events: list[Any]


@asynccontextmanager
async def lost(one: Stack, request: pb.ExecuteRequest, events: int = 0) -> AsyncIterator[Lost]:
    """Begin an execution over a wire that is cut after so many events."""
    async with wire_to(one.server.grpc) as wire:
        options = [*OWN_CONNECTION, ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(wire.address, options) as channel:
            call: Any = type(one.stub)(channel).Execute(request)
            name = await name_of(call)
            seen = [await call.read() for _ in range(events)]
            wire.cut()
            await call.code()
            yield Lost(name, seen)


@pytest.mark.parametrize("method", ["Execute", "Process", "BatchExecute"])
async def test_the_name_comes_before_any_wait(one: Stack, method: str) -> None:
    """Whatever starts an execution says its name at once, though the model never answers."""
    request: Any = pb.ExecuteRequest(prompt=f"{THINKS} {method}")
    if method == "BatchExecute":
        request = pb.BatchExecuteRequest(items=[request])
    if method == "Process":
        call = process(one, prompt=request.prompt)
    else:
        call = getattr(one.stub, method)(request)
    name = await name_of(call)
    kinds = {"Execute": "EXECUTE", "Process": "PROCESS", "BatchExecute": "BATCH"}
    found = await until_state(one, name, pb.EXECUTION_STATE_RUNNING)
    assert f"EXECUTION_KIND_{kinds[method]}" == pb.ExecutionKind.Name(found.kind)
    assert pb.EXECUTION_STATE_CANCELLED == (await cancel(one, name)).state
    failed = await failure_of(call)
    assert (grpc.StatusCode.CANCELLED, "CALLER_CANCELLED") == (failed.code(), reason_of(failed))


@pytest.mark.parametrize("how", [KEEP, DRAIN], ids=["keep", "drain"])
async def test_lost_while_the_model_thinks(one: Stack, how: pb.OnDisconnect) -> None:
    """A connection lost before the first event is resumed by the name, from the beginning."""
    request = pb.ExecuteRequest(prompt=f"{PAUSES}[[say: {TEXT}]] {how.mode}", on_disconnect=how)
    async with lost(one, request) as gone:
        assert [] == gone.events
        again = one.stub.Execute(pb.ExecuteRequest(resume=pb.Resume(execution=gone.name)))
        assert gone.name == await name_of(again)
        events = await collect(again)
        assert (TEXT, {gone.name}) == (text_of(events), {event.execution for event in events})
        assert list(range(1, len(events) + 1)) == [event.sequence for event in events]


async def test_lost_in_the_queue() -> None:
    """So is one that waits for a slot: it is queued, resumable, and comes to its end."""
    settings = {"ADMISSION__MAX_CONCURRENT_REQUESTS": "1", "COALESCE__MODE": "off"}
    async with stack(**settings) as one:
        first = one.stub.Execute(pb.ExecuteRequest(prompt=f"{PAUSES} first"))
        first_name = await name_of(first)
        await until_state(one, first_name, pb.EXECUTION_STATE_RUNNING)
        request = pb.ExecuteRequest(prompt=f"[[say: {TEXT}]]", on_disconnect=KEEP)
        async with lost(one, request) as gone:
            waiting = await get(one, gone.name)
            assert (pb.EXECUTION_STATE_QUEUED, True) == (waiting.state, waiting.resumable)
            resume = pb.ExecuteRequest(resume=pb.Resume(execution=gone.name))
            assert text_of(await collect(one.stub.Execute(resume))) == TEXT
            ended = await until_state(one, gone.name, pb.EXECUTION_STATE_SUCCEEDED)
            assert ended.timing.queued.ToSeconds() + ended.timing.queued.nanos > 0
        waits = process(one, prompt=f"{THINKS} second")
        await until_state(one, await name_of(waits), pb.EXECUTION_STATE_RUNNING)
        queued = process(one, prompt="third")
        name = await name_of(queued)
        assert pb.EXECUTION_STATE_QUEUED == (await get(one, name)).state
        assert pb.EXECUTION_STATE_CANCELLED == (await cancel(one, name)).state
        assert "CALLER_CANCELLED" == reason_of(await failure_of(queued))
        waits.cancel()


async def test_a_kept_run_can_be_stopped(one: Stack) -> None:
    """Nobody is connected any more: its usage and cost are known, and a resume ends likewise."""
    request = pb.ExecuteRequest(prompt=f"[[say: {TEXT * 20}]] kept", on_disconnect=KEEP)
    async with lost(one, request, 3) as gone:
        assert pb.EXECUTION_STATE_RUNNING == (await get(one, gone.name)).state
        again = one.stub.Execute(pb.ExecuteRequest(resume=pb.Resume(execution=gone.name)))
        await name_of(again)
        began = time.monotonic()
        ended = await cancel(one, gone.name)
        assert time.monotonic() - began < 1.0
        assert pb.EXECUTION_STATE_CANCELLED == ended.state
        assert ended.usage.total_token_count > 0
        assert ended.cost.cost_nano_usd > 0
        assert ended.failure.last_sequence == ended.last_sequence >= 3
        assert [details.ATTEMPT_OUTCOME_CANCELLED] == [one.outcome for one in ended.attempts]
        assert "CALLER_CANCELLED" == reason_of(await failure_of(again))
        assert ended == await cancel(one, gone.name)


async def test_who_shares_a_run_is_cancelled_alone(one: Stack) -> None:
    """Cancelling one of two identical executions leaves the other one whole."""
    request = pb.ExecuteRequest(prompt=f"[[say: {TEXT}]] shared", on_disconnect=KEEP)
    before = await one.generated()
    calls = [one.stub.Execute(request) for _ in range(2)]
    names = [await name_of(call) for call in calls]
    events = [await call.read() for call in calls]
    assert pb.EXECUTION_STATE_CANCELLED == (await cancel(one, names[0])).state
    rest = [events[1]]
    while (event := await calls[1].read()) is not grpc.aio.EOF:
        rest.append(event)
    assert TEXT == text_of(rest)
    assert pb.EXECUTION_STATE_SUCCEEDED == (await get(one, names[1])).state
    assert before + 1 == await one.generated()


async def test_an_item_of_a_batch_is_cancelled_alone(one: Stack) -> None:
    """Items have names from the start: running, waiting and ended ones are told apart."""
    items = [pb.ExecuteRequest(prompt=prompt) for prompt in (f"{THINKS} a", f"{THINKS} b", "c")]
    call = one.stub.BatchExecute(pb.BatchExecuteRequest(items=items, concurrency=1))
    name = await name_of(call)
    await until_state(one, f"{name}.0", pb.EXECUTION_STATE_RUNNING)
    assert pb.EXECUTION_STATE_QUEUED == (await get(one, f"{name}.1")).state
    for item in (1, 0):
        assert pb.EXECUTION_STATE_CANCELLED == (await cancel(one, f"{name}.{item}")).state
    results = sorted(await collect(call), key=lambda result: int(result.index))
    assert [f"{name}.{item}" for item in range(3)] == [result.execution for result in results]
    assert [1, 1, 0] == [result.error.code for result in results]
    whole = await get(one, name)
    assert (pb.EXECUTION_STATE_SUCCEEDED, 2, 1) == (
        whole.state,
        whole.item_counts.cancelled,
        whole.item_counts.succeeded,
    )
    listed: Any = await one.stub.ListExecutions(pb.ListExecutionsRequest(batch=name))
    assert [f"{name}.{item}" for item in (2, 1, 0)] == [found.name for found in listed.executions]


async def test_a_cancelled_turn_is_none(one: Stack) -> None:
    """The session stays as it was, and is free for the next turn."""
    async with grpc.aio.insecure_channel(one.server.grpc) as channel:
        stub: Any = session_rpc.SessionServiceStub(channel)
        session = (await stub.CreateSession(sessions.CreateSessionRequest())).session.name
        call = process(one, prompt=f"{THINKS} turn", session=session)
        name = await name_of(call)
        await until_state(one, name, pb.EXECUTION_STATE_RUNNING)
        assert session == (await cancel(one, name)).session
        await failure_of(call)
        await one.stub.Process(pb.ExecuteRequest(prompt="[[say: yes]]", session=session))
        kept: Any = await stub.GetSession(sessions.GetSessionRequest(name=session))
        assert 1 == kept.session.turn_count


async def test_a_failure_can_be_read_whole() -> None:
    """What does not fit into the trailers of a failed call is all there by its name."""
    words = "why " * 11_000
    blocked = {"finishReason": "SAFETY", "finishMessage": words}
    async with (
        answering() as model,
        serving(upstream_at(model.url)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        model.candidates.append(blocked)
        stub: Any = rpc.ExecuteServiceStub(channel)
        call = stub.Process(pb.ExecuteRequest(prompt="hi"))
        failed = await failure_of(call)
        name = await name_of(call)
        found = (await stub.GetExecution(pb.GetExecutionRequest(name=name))).execution
    assert "UPSTREAM_ANSWER_BLOCKED" == reason_of(failed)
    assert pb.EXECUTION_STATE_FAILED == found.state
    assert words == found.failure.finish_message


async def test_a_finished_execution_is_not_cancelled(one: Stack) -> None:
    """CancelExecution of what has ended returns it as it is; of what nobody has, NOT_FOUND."""
    answer: Any = await one.stub.Process(pb.ExecuteRequest(prompt="[[say: done]]"))
    ended = await cancel(one, answer.execution)
    assert (pb.EXECUTION_STATE_SUCCEEDED, answer.cost) == (ended.state, ended.cost)
    for method in (one.stub.GetExecution, one.stub.CancelExecution):
        request = pb.CancelExecutionRequest(name="executions/none")
        failed = await failure_of(method(request))
        assert "CALLER_UNKNOWN_RESOURCE" == reason_of(failed)


async def test_a_caller_who_does_not_read_is_told_why() -> None:
    """While the server is blocked in a write to one caller, another one cancels the execution."""
    async with (
        flood() as upstream,
        serving(upstream_at(upstream.url, **AS_IT_COMES)) as server,
        grpc.aio.insecure_channel(server.grpc, OWN_CONNECTION) as full,
        grpc.aio.insecure_channel(server.grpc, OWN_CONNECTION) as other,
    ):
        call: Any = rpc.ExecuteServiceStub(full).Execute(pb.ExecuteRequest(prompt="hi"))
        stub: Any = rpc.ExecuteServiceStub(other)
        name = await name_of(call)
        await call.read()
        await asyncio.sleep(1.0)  # until the connection's window is full
        request = pb.CancelExecutionRequest(name=name)
        ended = (await stub.CancelExecution(request, timeout=5)).execution
        assert pb.EXECUTION_STATE_CANCELLED == ended.state
        async with asyncio.timeout(5):
            with suppress(grpc.aio.AioRpcError):
                while await call.read() is not grpc.aio.EOF:
                    pass
        details = await call.details()
        assert (grpc.StatusCode.CANCELLED, ended.error.message) == (await call.code(), details)
