"""Executions, with either client."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.python.tests.fake_backend import (
    HELLO,
    PATIENCE,
    STARTED,
    USAGE,
    Failure,
    Pause,
    function_call_event,
    piece,
    whole,
)
from gemini.backend.v1.content_pb2 import FinishReason, Usage
from gemini.backend.v1.execute_service_pb2 import Delta, ExecuteRequest, ExecuteResponse
from gemini.backend.v1.execute_service_pb2 import Warning as WarningMessage
from gemini_backend_client import CancelledError, ServerError, UnavailableError

if TYPE_CHECKING:
    from clients.python.tests.fake_backend import FakeBackend
    from gemini_backend_client import AsyncClient, Client


def test_iterating_gives_the_text(client: Client) -> None:
    """An execution is iterated for its pieces of text."""
    assert ["Hel", "lo"] == list(client.execute("hi"))


async def test_async_iterating_gives_the_text(async_client: AsyncClient) -> None:
    """The same execution, under asyncio, gives the same pieces."""
    assert ["Hel", "lo"] == [text async for text in async_client.execute("hi")]


def test_events_are_typed_and_numbered(client: Client) -> None:
    """`events` gives every event of the stream, in order."""
    events = list(client.execute("hi").events())
    assert ["started", "delta", "delta", "completed"] == [e.WhichOneof("event") for e in events]
    assert [1, 2, 3, 4] == [event.sequence for event in events]


async def test_async_events_are_the_same(async_client: AsyncClient) -> None:
    """Under asyncio too."""
    events = [event async for event in async_client.execute("hi").events()]
    assert [1, 2, 3, 4] == [event.sequence for event in events]


def test_after_the_end_everything_is_known(client: Client) -> None:
    """What came beside the text stands on the execution."""
    execution = client.execute("hi")
    assert "Hello" == execution.text()
    assert "e-1" == execution.execution_id
    assert 4 == execution.last_sequence
    assert USAGE == execution.usage
    assert STARTED.started == execution.started
    assert HELLO[-1].completed == execution.completed


def test_result_holds_what_was_iterated_before(client: Client) -> None:
    """Iterating first does not take anything away from the result."""
    execution = client.execute("hi")
    assert 2 == len(list(execution))
    answer = execution.result()
    assert "Hello" == answer.text
    assert "STOP" == answer.finish_reason
    assert USAGE == answer.usage


async def test_async_result(async_client: AsyncClient) -> None:
    """Under asyncio the result is awaited."""
    answer = await async_client.execute("hi").result()
    assert "Hello" == answer.text


def test_pieces_arrive_as_they_are_sent(client: Client, backend: FakeBackend) -> None:
    """A piece is given out before the next one has been sent."""
    pause = Pause()
    backend.script(STARTED, piece("one"), pause, piece("two"), whole())
    pieces = iter(client.execute("hi"))
    assert "one" == next(pieces)
    pause.over.set()
    assert ["two"] == list(pieces)


def test_thoughts_are_no_text(client: Client, backend: FakeBackend) -> None:
    """The text leaves thoughts out; the answer keeps them apart."""
    backend.script(STARTED, piece("hmm", thought=True), piece("yes"), whole())
    answer = client.execute("hi").result()
    assert "yes" == answer.text
    assert "hmm" == answer.thoughts


def test_signed_parts_stay_as_they_came(client: Client, backend: FakeBackend) -> None:
    """Plain text is joined; a part with a signature is neither merged nor changed."""
    signed = piece("!", thought_signature=b"sig")
    called = function_call_event("weather", b"other")
    backend.script(STARTED, piece("a"), piece("b"), signed, called, whole())
    answer = client.execute("hi").result()
    text, exclamation, call = answer.content.parts
    assert "ab" == text.text
    assert signed.delta.parts[0] == exclamation
    assert called.delta.parts[0] == call
    assert "model" == answer.content.role
    assert [call.function_call] == answer.function_calls


def test_candidates_are_kept_apart(client: Client, backend: FakeBackend) -> None:
    """Text is the first candidate's; the answer has them all."""
    other = piece("B")
    other.delta.candidate_index = 1
    backend.script(STARTED, piece("A"), other, whole())
    execution = client.execute("hi")
    assert ["A"] == list(execution)
    candidates = execution.result().response.candidates
    assert ["A", "B"] == [c.content.parts[0].text for c in candidates]


def test_leaving_the_loop_cancels_at_the_server(client: Client, backend: FakeBackend) -> None:
    """`break` ends the execution at the server, not only here."""
    backend.script(STARTED, piece("one"), Pause(), whole())
    execution = client.execute("hi")
    for _ in execution:
        break
    assert backend.left.wait(PATIENCE)
    with pytest.raises(CancelledError):
        execution.result()


def test_leaving_the_block_cancels_at_the_server(client: Client, backend: FakeBackend) -> None:
    """The end of a `with` block closes what was not iterated to its end."""
    backend.script(STARTED, piece("one"), Pause(), whole())
    with client.execute("hi") as execution:
        pieces = iter(execution)
        assert "one" == next(pieces)
    assert backend.left.wait(PATIENCE)


def test_dropping_an_execution_cancels_at_the_server(client: Client, backend: FakeBackend) -> None:
    """An execution that nobody holds any more does not go on at the server."""
    backend.script(STARTED, Pause(), whole())
    execution = client.execute("hi")
    events = execution.events()
    assert "started" == next(events).WhichOneof("event")
    del execution, events
    gc.collect()
    assert backend.left.wait(PATIENCE)


async def test_async_leaving_the_loop_cancels(
    async_client: AsyncClient, backend: FakeBackend
) -> None:
    """`break` out of `async for` ends the execution at the server."""
    backend.script(STARTED, piece("one"), Pause(), whole())
    async for _ in async_client.execute("hi"):
        break
    assert await asyncio.to_thread(backend.left.wait, PATIENCE)


async def test_async_cancelling_the_task_cancels(
    async_client: AsyncClient, backend: FakeBackend
) -> None:
    """A cancelled task takes its execution at the server with it, and stays cancelled."""
    backend.script(STARTED, piece("one"), Pause(), whole())
    execution = async_client.execute("hi")
    arrived = asyncio.Event()

    async def read() -> None:
        async for _ in execution:
            arrived.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(backend.left.wait, PATIENCE)


async def test_async_close_from_outside_is_an_error_of_ours(
    async_client: AsyncClient, backend: FakeBackend
) -> None:
    """Closing an execution that another task reads does not look like a cancelled task."""
    backend.script(STARTED, piece("one"), Pause(), whole())
    execution = async_client.execute("hi")
    arrived = asyncio.Event()

    async def read() -> None:
        async for _ in execution:
            arrived.set()

    task = asyncio.create_task(read())
    await asyncio.wait_for(arrived.wait(), PATIENCE)
    execution.close()
    with pytest.raises(CancelledError):
        await task


async def test_async_failure_does_not_turn_into_success(
    async_client: AsyncClient, backend: FakeBackend
) -> None:
    """A failed execution fails again when it is asked again."""
    backend.script(STARTED, piece("one"), Failure(grpc.StatusCode.UNAVAILABLE))
    execution = async_client.execute("hi")
    for _ in range(2):
        with pytest.raises(UnavailableError):
            await execution.result()


def test_failure_in_mid_stream_says_how_far_it_came(client: Client, backend: FakeBackend) -> None:
    """The error knows the execution, the last event that arrived and the tokens so far."""
    so_far = ExecuteResponse(usage=Usage(total_token_count=9))
    backend.script(STARTED, piece("one"), so_far, Failure(grpc.StatusCode.UNAVAILABLE))
    pieces = []
    with pytest.raises(UnavailableError) as caught:
        pieces.extend(client.execute("hi"))
    assert "e-1" == caught.value.execution_id
    assert 3 == caught.value.last_sequence
    assert Usage(total_token_count=9) == caught.value.usage


def test_half_an_answer_is_no_success(client: Client, backend: FakeBackend) -> None:
    """A stream that ends well, but without `completed`, is an error."""
    backend.script(STARTED, piece("one"))
    with pytest.raises(ServerError, match="before the answer was complete"):
        client.execute("hi").result()


def test_a_whole_request_goes_as_it_is(client: Client, backend: FakeBackend) -> None:
    """`request=` is sent unchanged."""
    request = ExecuteRequest(prompt="hi", model="m", request_id="r-1")
    client.execute(request=request).result()
    assert [request] == backend.requests


def test_both_forms_at_once_are_refused(client: Client) -> None:
    """A whole request leaves no room for content."""
    with pytest.raises(TypeError, match="either a complete request"):
        client.execute("hi", request=ExecuteRequest(prompt="hi"))


def test_a_long_answer_has_the_token_of_its_end(backend: FakeBackend, client: Client) -> None:
    """Tokens within a stream are none of the whole answer; continuations and warnings are told."""
    end = FinishReason.FINISH_REASON_CONTINUATION
    pieces = [
        ExecuteResponse(delta=Delta(parts=[{"text": "a"}], continuation_token=b"within")),
        ExecuteResponse(delta=Delta(finish_reason=end, continuation_token=b"end")),
    ]
    warning = WarningMessage(code="CONTINUATION_LIMIT")
    backend.script(STARTED, *pieces, whole(finish_reason=end, continuations=3, warnings=[warning]))
    with client.execute("hi") as execution:
        list(execution.events())
    response = execution.answer().response
    assert (b"end", 3, ["CONTINUATION_LIMIT"]) == (
        response.candidates[0].continuation_token,
        response.continuations,
        [one.code for one in response.started.warnings],
    )
