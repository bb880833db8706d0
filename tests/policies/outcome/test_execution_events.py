"""An execution tells its own story.

Covers: policies/outcome/execution_story.py, policies/outcome/attempt_report.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord, Work
from gemini_backend.errors import Overloaded, StreamCut
from gemini_backend.policies.event_stream import delta_of
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.outcome.execution_story import ExecutionStory
from gemini_backend.principal import Principal
from gemini_backend.telemetry.events import SILENT, ExecutionStarted
from tests.support.clock import FakeClock
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import EXECUTE, completed, delta, make_call, script, started
from tests.support.messages.events import ended

if TYPE_CHECKING:
    from gemini_backend.call import Call


async def play(clock: FakeClock, call: Call, heard: Recorder, *steps: Any) -> list[Any]:
    """Play the steps through the policy, moving the clock until it has ended."""
    policy = Alone(ExecutionEvents(clock, heard.bus))
    events = policy.stream(call, pb.ExecuteRequest(), script(clock, *steps))
    task = asyncio.ensure_future(collect(events))
    while not task.done():
        await clock.advance(1)
    return await task


async def test_events_are_numbered_without_gaps(clock: FakeClock) -> None:
    """Every event has the execution's id and the next number, from 1."""
    steps = (started(), delta("a"), delta("b"), completed())
    events = await play(clock, make_call(clock), Recorder(), *steps)
    assert [("e1", 1), ("e1", 2), ("e1", 3), ("e1", 4)] == [
        (event.execution, event.sequence) for event in events
    ]


@pytest.mark.parametrize(("seconds", "warned"), [(0.0, 0), (0.9, 0), (12.34, 1)])
async def test_a_wait_for_quota_is_told(clock: FakeClock, seconds: float, warned: int) -> None:
    """With its time and its cause, in the first event of a stream and in a whole answer."""
    call = make_call(clock)
    call.outcome.quota_seconds, call.outcome.quota_reason = seconds, "upstream throttles"
    events = await play(clock, call, Recorder(), started(), delta("a"), completed())

    async def whole(_call: Any, _request: Any) -> pb.ProcessResponse:
        return pb.ProcessResponse()

    progress = Alone(ExecutionEvents(clock, Recorder().bus))
    answer = await progress.unary(call, pb.ExecuteRequest(), whole)
    expected = [("WAITED_FOR_QUOTA", "waited 12.3 s for quota: upstream throttles")] * warned
    for first in (events[0].started, answer.started):
        assert expected == [(one.code, one.message) for one in first.warnings]
    assert not events[-1].completed.warnings


async def test_completed_tells_times_and_attempts(clock: FakeClock) -> None:
    """The last event says how long the first token and the whole took, and what was tried."""
    call = make_call(clock)
    call.outcome.attempts.append(
        AttemptRecord("models/m", clock.now(), clock.now() + 1, StreamCut("x"))
    )
    call.outcome.attempts.append(AttemptRecord("models/n", clock.now(), clock.now() + 2))
    steps = (3, started(), delta("a"), 2, completed())
    done = (await play(clock, call, Recorder(), *steps))[-1].completed
    assert (3, 5) == (done.timing.first_token.seconds, done.timing.total.seconds)
    assert [
        (1, "models/m", details.ATTEMPT_OUTCOME_FAILED, 60),
        (2, "models/n", details.ATTEMPT_OUTCOME_SUCCEEDED, 0),
    ] == [(a.number, a.model, a.outcome, a.reason) for a in done.attempts]


async def test_a_failure_says_what_was_delivered(clock: FakeClock) -> None:
    """A stream that fails tells its last number, its deltas, and the usage seen so far."""
    heard = Recorder()
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
    assert [("UNAVAILABLE", "UPSTREAM_STREAM_CUT")] == [(e.code, e.reason) for e in heard.finished]


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
        heard = Recorder()
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
    heard = Recorder()
    policy = Alone(ExecutionEvents(clock, heard.bus))
    steps = (started("gemini-x"), delta("a", 5), delta("b", 6), completed())
    events: Any = policy.stream(make_call(clock), pb.ExecuteRequest(), script(clock, *steps))
    await anext(events)
    await anext(events)
    await events.aclose()
    (event,) = heard.finished
    assert (True, "gemini-x", 5) == (
        event.cancelled,
        event.served_model,
        event.usage and event.usage.total_token_count,
    )


async def test_a_whole_answer_gets_times_too(clock: FakeClock) -> None:
    """A unary answer carries the execution's id and its total time."""

    async def answer(_call: Any, _request: Any) -> pb.ProcessResponse:
        return pb.ProcessResponse()

    heard = Recorder()
    policy = Alone(ExecutionEvents(clock, heard.bus))
    response = await policy.unary(make_call(clock), pb.ExecuteRequest(), answer)
    assert ("e1", True, 1) == (
        response.execution,
        response.timing.HasField("total"),
        len(heard.finished),
    )


async def test_a_stream_that_nobody_reads_has_ended(clock: FakeClock) -> None:
    """Its end is published once it is closed, as that of a caller who left."""
    heard = Recorder()
    policy = Alone(ExecutionEvents(clock, heard.bus))
    events = await policy.open(make_call(clock), pb.ExecuteRequest(), script(clock, started()))
    assert [ExecutionStarted] == [type(event) for event in heard.events]
    await events.aclose()
    assert [True] == [event.cancelled for event in heard.finished]


async def test_why_this_server_cancelled_is_told(clock: FakeClock) -> None:
    """In place of the cancel, with how far the execution came; a caller's cancel stays one."""
    for cut, code in ((Overloaded("stopped"), "RESOURCE_EXHAUSTED"), (None, "CANCELLED")):
        heard, call = Recorder(), make_call(clock)
        policy = Alone(ExecutionEvents(clock, heard.bus))
        events = policy.stream(call, pb.ExecuteRequest(), script(clock, started(), 60))
        task = asyncio.ensure_future(collect(events))
        await clock.advance(1)
        call.outcome.cut_short = cut
        task.cancel()
        with pytest.raises(Overloaded if cut else asyncio.CancelledError) as failed:
            await task
        assert [code] == [event.code for event in heard.finished]
        if isinstance(failed.value, Overloaded):
            assert failed.value.failure is not None
            assert 1 == failed.value.failure.last_sequence


@pytest.mark.parametrize("when", ["at once", "later", "whole"])
async def test_a_defect_is_no_success(clock: FakeClock, when: str) -> None:
    """What is no failure of a known kind ends an execution as unexpected."""
    heard = Recorder()
    policy = Alone(ExecutionEvents(clock, heard.bus))

    def broken(_call: Any, _request: Any) -> Any:
        raise ValueError("x")

    async def whole(_call: Any, _request: Any) -> Any:
        raise ValueError("x")

    later = script(clock, started(), ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        if when == "whole":
            await policy.unary(make_call(clock), pb.ExecuteRequest(), whole)
        else:
            handler = broken if when == "at once" else later
            await collect(policy.stream(make_call(clock), pb.ExecuteRequest(), handler))
    assert [("INTERNAL", "BACKEND_UNEXPECTED")] == [(e.code, e.reason) for e in heard.finished]


async def test_start_and_end_say_who_asked_for_what(clock: FakeClock) -> None:
    """In values: they hold nothing of the call or the request."""
    heard = Recorder()
    call = replace(make_call(clock), principal=Principal("acme", "ann"), work=Work.ITEM)
    call.outcome.model, call.outcome.cost_nano_usd, call.outcome.pays = "models/m", 7, False
    call.outcome.queued_seconds = 0.5
    call.outcome.attempts.append(AttemptRecord("models/m", clock.now()))
    await play(clock, call, heard, started("m-1"), delta("a"), 2, completed(9))
    assert [
        ExecutionStarted("e1", EXECUTE, Work.ITEM, "acme", "ann"),
        ended(
            "models/m",
            2.0,
            work=Work.ITEM,
            tenant="acme",
            principal="ann",
            served_model="m-1",
            first_token_seconds=0.0,
            queued_seconds=0.5,
            usage=content.Usage(total_token_count=9),
            cost_nano_usd=7,
            pays=False,
            attempts=1,
        ),
    ] == heard.events


@given(sizes=st.lists(st.integers(0, 3000), max_size=6))
def test_bytes_that_are_asked_for_change_nothing_of_the_story(sizes: list[int]) -> None:
    """Events are numbered and cut alike; the bytes are those of the event as it is handed on."""
    clock = FakeClock()
    told = []
    for asked in (False, True):
        call = make_call(clock)
        story = ExecutionStory(call, clock, SILENT, 2048)
        story.asked = asked
        events = []
        for event in (started(), *(delta("a" * size) for size in sizes), completed()):
            pieces = story.event(event, delta_of(event))
            events += [event] if pieces is None else list(pieces)
            if story.written[0] is event:
                assert event.SerializeToString() == story.written[1]
        events[-1].completed.ClearField("timing")
        told.append((events, call.outcome.sequence, call.outcome.first_token))
    assert told[0] == told[1]
