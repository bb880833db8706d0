"""One attempt at a streamed answer: what a cancelled wait leaves, and that it ends once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import ServiceError, StreamCut
from gemini_backend.telemetry.events import AttemptFinished
from gemini_backend.upstream.gemini.answer import in_turns
from tests.support.clock import settle
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import make_call
from tests.upstream.gemini.script import Script, upstream_of

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

REQUEST = pb.ExecuteRequest(prompt="hi", model="models/m")
WHOLE = {"finishReason": "STOP"}


def data(text: str, **more: Any) -> bytes:
    """Return an event with a piece of text."""
    found = {"candidates": [{"content": {"parts": [{"text": text}]}, **more}]}
    return b"data: " + json.dumps(found).encode() + b"\r\n\r\n"


class Attempted:
    """A stream of one attempt, read by tasks that a test cancels."""

    def __init__(self, clock: FakeClock, *steps: Any) -> None:
        self.clock, self.script, self.heard = clock, Script(clock, *steps), Recorder()
        upstream = upstream_of(self.script)
        upstream._bus = self.heard.bus
        self.call = make_call(clock)
        self.stream = upstream.stream(self.call, REQUEST)
        self.events: list[pb.ExecuteResponse] = []

    async def interrupted(self) -> None:
        """Wait for an event in a task, and cancel the wait."""
        task = asyncio.ensure_future(self.stream.__anext__())
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    async def rest(self) -> str:
        """Return the text of what is still to come, to its end."""
        read = asyncio.ensure_future(self._read())
        await settle()
        await self.clock.advance(60)
        self.events += await read
        return "".join(part.text for event in self.events for part in event.delta.parts)

    async def _read(self) -> list[pb.ExecuteResponse]:
        return [event async for event in self.stream]

    def ends(self) -> list[str]:
        """Return how the attempt ended, as often as that was published."""
        assert 1 == len(self.call.outcome.attempts)
        return [event.outcome for event in self.heard.of(AttemptFinished)]


async def test_a_wait_that_was_cancelled_is_begun_again(clock: FakeClock) -> None:
    """Another task reads on: nothing is lost or comes twice, and the attempt has not ended."""
    one = Attempted(clock, data("a"), 5, data("b"), 5, data("c", **WHOLE))
    first = await one.stream.__anext__()
    one.events.append(await one.stream.__anext__())
    assert ("started", True) == (first.WhichOneof("event"), one.stream.resumable)
    await one.interrupted()
    assert ([], 0) == (one.ends(), one.script.closed)
    assert "abc" == await one.rest()
    assert ["succeeded"] == one.ends()
    assert "completed" == one.events[-1].WhichOneof("event")


LONG = data("x" * in_turns.LARGE)
MANY = b"".join(data("y") for _ in range(2000))


@pytest.mark.parametrize(("body", "expected"), [(LONG, "x" * in_turns.LARGE), (MANY, "y" * 2000)])
async def test_what_is_read_aside_is_not_lost(clock: FakeClock, body: bytes, expected: str) -> None:
    """Work on a large event, or on many, goes on while nobody waits for it."""
    one = Attempted(clock, data("a"), body, data("b", **WHOLE))
    await one.stream.__anext__()
    one.events.append(await one.stream.__anext__())
    task = asyncio.ensure_future(one.stream.__anext__())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (True, []) == (task.cancelled(), one.ends())
    while one.stream._aside is not None and not one.stream._aside.done():
        await asyncio.sleep(0.001)
    assert f"a{expected}b" == await one.rest()
    assert ["succeeded"] == one.ends()


@pytest.mark.parametrize("pause", [(), (5,)], ids=["events there", "waiting"])
async def test_a_stream_that_is_closed_was_cancelled(clock: FakeClock, pause: Any) -> None:
    """Its connection is given up at once; it is told of once, and is over."""
    one = Attempted(clock, data("a"), *pause, data("b", **WHOLE))
    await one.stream.__anext__()
    if pause:
        await one.stream.__anext__()
        await one.interrupted()
    await one.stream.aclose()
    await one.stream.aclose()
    assert (["cancelled"], True) == (one.ends(), one.script.closed > 0)
    assert one.call.outcome.attempts[0].cancelled
    with pytest.raises(StopAsyncIteration):
        await one.stream.__anext__()


async def test_work_aside_ends_with_its_stream(clock: FakeClock) -> None:
    """A stream that is closed leaves no task behind."""
    one = Attempted(clock, data("a"), MANY, None)
    await one.stream.__anext__()
    await one.stream.__anext__()
    task = asyncio.ensure_future(one.stream.__anext__())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await one.stream.aclose()
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_failure_comes_after_the_events_before_it(clock: FakeClock) -> None:
    """And once: the stream is over then."""
    one = Attempted(clock, data("a"), data("b"), StreamCut("lost"))
    kinds = [(await one.stream.__anext__()).WhichOneof("event") for _ in range(3)]
    assert ["started", "delta", "delta"] == kinds
    with pytest.raises(ServiceError, match="lost"):
        await one.stream.__anext__()
    with pytest.raises(StopAsyncIteration):
        await one.stream.__anext__()
    assert ["failed"] == one.ends()


async def test_a_cancel_before_the_answer_ends_the_attempt(clock: FakeClock) -> None:
    """There is nothing yet to be read on: another try asks anew."""
    one = Attempted(clock)

    async def never(*_args: Any, **_more: Any) -> Any:
        await clock.sleep(1e9)

    one.script.send = never  # type: ignore[method-assign] # no head comes
    await one.interrupted()
    assert (False, ["cancelled"]) == (one.stream.resumable, one.ends())
