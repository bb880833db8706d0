"""An execution tells its own story."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord
from gemini_backend.errors import StreamCut
from gemini_backend.policies.outcome.execution_events import Progress
from gemini_backend.telemetry.events import ExecutionFinished, Listeners
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, make_call, script, started

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.events: list[ExecutionFinished] = []
        self.calls: list[Call] = []

    def execution_started(self, call: Call, /) -> None:
        self.calls.append(call)

    def execution_finished(self, event: ExecutionFinished, /) -> None:
        self.events.append(event)


async def play(clock: FakeClock, call: Call, heard: Heard, *steps: Any) -> list[Any]:
    """Play the steps through the policy, moving the clock until it has ended."""
    policy = Progress(clock, Listeners([heard]))
    events = policy.stream(call, pb.ExecuteRequest(), script(clock, *steps))
    task = asyncio.ensure_future(collect(events))
    while not task.done():
        await clock.advance(1)
    return await task


async def test_events_are_numbered_without_gaps(clock: FakeClock) -> None:
    """Every event has the execution's id and the next number, from 1."""
    steps = (started(), delta("a"), delta("b"), completed())
    events = await play(clock, make_call(clock), Heard(), *steps)
    assert [("e1", 1), ("e1", 2), ("e1", 3), ("e1", 4)] == [
        (event.execution, event.sequence) for event in events
    ]


async def test_completed_tells_times_and_attempts(clock: FakeClock) -> None:
    """The last event says how long the first token and the whole took, and what was tried."""
    call = make_call(clock)
    call.outcome.attempts.append(
        AttemptRecord("models/m", clock.now(), clock.now() + 1, StreamCut("x"))
    )
    call.outcome.attempts.append(AttemptRecord("models/n", clock.now(), clock.now() + 2))
    steps = (3, started(), delta("a"), 2, completed())
    done = (await play(clock, call, Heard(), *steps))[-1].completed
    assert (3, 5) == (done.timing.first_token.seconds, done.timing.total.seconds)
    assert [
        (1, "models/m", details.ATTEMPT_OUTCOME_FAILED, 60),
        (2, "models/n", details.ATTEMPT_OUTCOME_SUCCEEDED, 0),
    ] == [(a.number, a.model, a.outcome, a.reason) for a in done.attempts]


async def test_a_failure_says_what_was_delivered(clock: FakeClock) -> None:
    """A stream that fails tells its last number, its deltas, and the usage seen so far."""
    heard = Heard()
    with pytest.raises(StreamCut) as failed:
        await play(clock, make_call(clock), heard, started(), delta("a", 3), StreamCut("cut"))
    failure = failed.value.failure
    assert failure is not None
    assert ("e1", 2, 1, 3) == (
        failure.execution,
        failure.last_sequence,
        failure.deltas_delivered,
        failure.usage.total_token_count,
    )
    assert [(failed.value, False)] == [(e.error, e.cancelled) for e in heard.events]


async def test_what_was_used_is_what_the_last_attempt_knows(clock: FakeClock) -> None:
    """More than the last event says; without it, the last event's counts, as an estimate."""
    counted = content.Usage(total_token_count=9, quality=content.USAGE_QUALITY_ESTIMATED)
    call = make_call(clock)
    call.outcome.attempts += [
        AttemptRecord("models/m", 0, used=lambda: content.Usage(total_token_count=5)),
        AttemptRecord("models/m", 0, used=lambda: counted),
        AttemptRecord("models/m", 0, used=lambda: None),
        AttemptRecord("models/m", 0),
    ]
    for one, expected in ((call, 9), (make_call(clock), 3)):
        heard = Heard()
        with pytest.raises(StreamCut) as failed:
            await play(clock, one, heard, started(), delta("a", 3), StreamCut("cut"))
        failure = failed.value.failure
        assert failure is not None
        assert (expected, content.USAGE_QUALITY_ESTIMATED) == (
            failure.usage.total_token_count,
            failure.usage.quality,
        )
        assert one.outcome.usage is not None
        assert expected == one.outcome.usage.total_token_count


async def test_listeners_hear_of_a_caller_who_left(clock: FakeClock) -> None:
    """An execution that is closed early is told as cancelled, with the usage seen so far."""
    heard = Heard()
    policy = Progress(clock, Listeners([heard]))
    steps = (started("gemini-x"), delta("a", 5), delta("b", 6), completed())
    events: Any = policy.stream(make_call(clock), pb.ExecuteRequest(), script(clock, *steps))
    await anext(events)
    await anext(events)
    await events.aclose()
    (event,) = heard.events
    assert (True, "gemini-x", 5) == (
        event.cancelled,
        event.call.outcome.served_model,
        event.usage and event.usage.total_token_count,
    )


async def test_a_whole_answer_gets_times_too(clock: FakeClock) -> None:
    """A unary answer carries the execution's id and its total time."""

    async def answer(_call: Any, _request: Any) -> pb.ProcessResponse:
        return pb.ProcessResponse()

    heard = Heard()
    policy = Progress(clock, Listeners([heard]))
    response = await policy.unary(make_call(clock), pb.ExecuteRequest(), answer)
    assert ("e1", True, 1) == (
        response.execution,
        response.timing.HasField("total"),
        len(heard.events),
    )
