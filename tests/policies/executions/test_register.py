"""Executions are known by name from their arrival on, and stopped by whoever started them.

Covers: policies/executions/underway.py, policies/executions/ended.py,
policies/executions/progress.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord
from gemini_backend.errors import Cancelled, Overloaded, ServiceError, StreamCut, UnknownResource
from gemini_backend.policies.executions import UNLISTED
from gemini_backend.principal import Principal
from tests.support.clock import settle
from tests.support.layers.known_executions import MIDNIGHT, Known
from tests.support.messages.calls import completed
from tests.support.upstreams.counting_upstream import answer_of

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

NAME = "executions/e1"
QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = (
    pb.EXECUTION_STATE_QUEUED,
    pb.EXECUTION_STATE_RUNNING,
    pb.EXECUTION_STATE_SUCCEEDED,
    pb.EXECUTION_STATE_FAILED,
    pb.EXECUTION_STATE_CANCELLED,
)
STOP = Cancelled("stop")


def used(total: int) -> content.Usage:
    return content.Usage(total_token_count=total)


def attempt(call: Call, started: float, total: int = 0) -> AttemptRecord:
    """Let the model be asked for a call; it has used so many tokens so far."""
    record = AttemptRecord("models/a", started, used=lambda: used(total) if total else None)
    call.outcome.attempts.append(record)
    return record


async def test_an_execution_is_queued_until_the_model_is_asked(clock: FakeClock) -> None:
    """It is known at once, with what its request says, and runs from its first attempt on."""
    known = Known(clock)
    call = known.begin(prompt="hi", session="sessions/s", labels={"team": "a"})
    await clock.advance(2)
    waiting = known.get()
    assert (QUEUED, NAME, "sessions/s") == (waiting.state, waiting.name, waiting.session)
    assert {"team": "a"} == dict(waiting.labels)
    assert pb.DISCONNECT_MODE_CANCEL == waiting.on_disconnect
    assert MIDNIGHT + 1000 == waiting.create_time.seconds
    assert 2 == waiting.timing.total.seconds
    attempt(call, clock.now(), 12)
    await clock.advance(1)
    running = known.get()
    assert (RUNNING, 12) == (running.state, running.usage.total_token_count)
    assert content.USAGE_QUALITY_ESTIMATED == running.usage.quality
    assert MIDNIGHT + 1002 == running.start_time.seconds
    (one,) = running.attempts
    assert (details.ATTEMPT_OUTCOME_UNSPECIFIED, 1) == (one.outcome, one.duration.seconds)
    assert not running.HasField("end_time")


async def test_who_shares_a_run_shows_that_run(clock: FakeClock) -> None:
    """While another execution's run answers it, that run's attempts and usage are its own."""
    known = Known(clock)
    call, leader = known.begin(), known.call("executions/leader")
    call.outcome.shared = leader.outcome
    assert QUEUED == known.get().state
    attempt(leader, clock.now(), 5)
    assert (RUNNING, 5) == (known.get().state, known.get().usage.total_token_count)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_success_is_remembered_as_it_was_told(clock: FakeClock, streamed: bool) -> None:
    """Usage, cost, times, attempts and finish reason are those of the answer; the text is not."""
    known = Known(clock)
    call = known.begin(prompt="secret")
    attempt(call, clock.now())
    end = completed(9).completed if streamed else answer_of("secret", 9)
    end.cost.cost_nano_usd = 33
    end.timing.total.CopyFrom(Duration(seconds=3))
    end.attempts.add(number=1)
    call.outcome.end, call.outcome.sequence = end, 4
    await clock.advance(3)
    known.register.call_ended(call, None)
    got = known.get()
    assert (SUCCEEDED, 9, 33, 3) == (
        got.state,
        got.usage.total_token_count,
        got.cost.cost_nano_usd,
        got.timing.total.seconds,
    )
    assert (content.FINISH_REASON_STOP, 1, 4) == (
        got.finish_reason,
        len(got.attempts),
        got.last_sequence,
    )
    assert (MIDNIGHT + 1000, MIDNIGHT + 1003) == (got.start_time.seconds, got.end_time.seconds)
    assert MIDNIGHT + 1003 + 3600 == got.expire_time.seconds
    assert b"secret" not in got.SerializeToString()
    assert not got.HasField("error")
    assert not got.HasField("failure")


async def test_a_failure_is_remembered_whole(clock: FakeClock) -> None:
    """Its status has every detail, however long, and its progress stands beside it."""
    known = Known(clock)
    call = known.begin()
    attempt(call, clock.now())
    error = StreamCut("it broke off")
    message = "why " * 12_000
    error.failure = details.ExecutionFailure(
        finish_message=message, usage=used(7), finish_reason=content.FINISH_REASON_OTHER
    )
    error.failure.cost.cost_nano_usd = 5
    known.register.call_ended(call, error)
    got = known.get()
    assert (FAILED, 14, "it broke off") == (got.state, got.error.code, got.error.message)
    assert message == got.failure.finish_message
    assert (7, 5, content.FINISH_REASON_OTHER) == (
        got.usage.total_token_count,
        got.cost.cost_nano_usd,
        got.finish_reason,
    )
    told = details.ExecutionFailure()
    assert [True] == [one.Unpack(told) for one in got.error.details if one.Is(told.DESCRIPTOR)]
    assert message == told.finish_message


async def test_a_caller_who_leaves_cancels(clock: FakeClock) -> None:
    """Without an answer and without a failure it was cancelled, and says by whom."""
    known = Known(clock)
    known.register.call_ended(known.begin(), None)
    got = known.get()
    info = ErrorInfo()
    assert got.error.details[0].Unpack(info)
    assert (CANCELLED, 1, "CALLER_CANCELLED") == (got.state, got.error.code, info.reason)
    assert "disconnected" in got.error.message


async def test_a_defect_is_remembered_without_its_words(clock: FakeClock) -> None:
    """A foreign exception is told as everywhere: with an id to search for."""
    known = Known(clock)
    call = known.begin()
    known.register.runs_apart(call, lambda _why: None)
    known.register.ended(call, ZeroDivisionError("secret"))
    got = known.get()
    assert (FAILED, 13) == (got.state, got.error.code)
    assert "secret" not in got.error.message


async def test_a_run_apart_does_not_end_with_its_call(clock: FakeClock) -> None:
    """What goes on without its caller ends when the run does."""
    known = Known(clock)
    call = known.begin()
    known.register.runs_apart(call, lambda _why: None)
    known.register.call_ended(call, None)
    assert QUEUED == known.get().state
    call.outcome.end = completed().completed
    known.register.ended(call, None)
    assert SUCCEEDED == known.get().state
    known.register.ended(call, Overloaded("too late to matter"))
    assert SUCCEEDED == known.get().state


async def test_others_know_nothing_of_it(clock: FakeClock) -> None:
    """Another principal can neither read, cancel nor list an execution, running or ended."""
    known = Known(clock)
    call = known.begin()
    for _ in range(2):
        with pytest.raises(UnknownResource, match="there is no execution 'executions/e1'"):
            known.get(principal="bob")
        with pytest.raises(UnknownResource):
            await known.register.cancel(Principal(name="bob"), NAME, STOP)
        assert [] == list(known.register.all_of(Principal(name="bob")))
        with pytest.raises(UnknownResource):
            known.register.get(Principal(tenant="other", name="ann"), NAME)
        assert (True, False) == (
            known.register.owns(Principal(name="ann"), NAME),
            known.register.owns(Principal(name="bob"), NAME),
        )
        known.register.call_ended(call, None)


async def test_cancel_stops_the_task_and_returns_the_end(clock: FakeClock) -> None:
    """The task is cancelled once, however many ask, and each of them gets what became of it."""
    known = Known(clock)
    seen: list[int] = []

    async def run() -> None:
        call = known.begin()
        attempt(call, clock.now())
        try:
            await clock.sleep(100)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            seen.append(task.cancelling())
            known.register.call_ended(call, call.outcome.cut_short)
            raise

    running = asyncio.create_task(run())
    await settle()
    ann = Principal(name="ann")
    asked = [asyncio.create_task(known.register.cancel(ann, NAME, STOP)) for _ in range(3)]
    ended = await asyncio.gather(*asked)
    await asyncio.wait({running})
    assert [CANCELLED] * 3 == [one.state for one in ended]
    assert (["stop"] * 3, [1]) == ([one.error.message for one in ended], seen)
    again = await known.register.cancel(ann, NAME, Cancelled("another reason"))
    assert "stop" == again.error.message


async def test_cancel_stops_a_run_that_goes_on_alone(clock: FakeClock) -> None:
    """A run apart from its caller is stopped by its own means."""
    known = Known(clock)
    call = known.begin()
    reasons: list[ServiceError] = []
    known.register.runs_apart(call, reasons.append)
    stopping = asyncio.create_task(known.register.cancel(Principal(name="ann"), NAME, STOP))
    await settle()
    assert [STOP] == reasons
    known.register.ended(call, STOP)
    assert CANCELLED == (await stopping).state
    assert CANCELLED == known.get().state


async def test_a_batch_counts_its_items(clock: FakeClock) -> None:
    """A batch shows how its items stand, and what they have used and cost together."""
    known = Known(clock)
    call = known.begin("executions/b", kind=pb.EXECUTION_KIND_BATCH)
    batch = known.register.begin_batch(call, 3)
    items = [known.call(f"executions/b.{number}") for number in range(3)]
    for item in items:
        known.register.begin_item(item, pb.ExecuteRequest(prompt="hi"), batch)
    assert QUEUED == known.get("executions/b").state
    for item in items[:2]:
        end = completed(4).completed
        end.cost.cost_nano_usd = 10
        item.outcome.end = end
        known.register.call_ended(item, None)
    half = known.get("executions/b")
    assert (RUNNING, 1, 2) == (half.state, half.item_counts.unfinished, half.item_counts.succeeded)
    known.register.call_ended(items[2], Overloaded("full"))
    known.register.call_ended(call, None)
    whole = known.get("executions/b")
    assert (SUCCEEDED, 8, 20) == (
        whole.state,
        whole.usage.total_token_count,
        whole.cost.cost_nano_usd,
    )
    assert (0, 2, 1, 0) == (
        whole.item_counts.unfinished,
        whole.item_counts.succeeded,
        whole.item_counts.failed,
        whole.item_counts.cancelled,
    )
    one = known.get("executions/b.1")
    assert ("executions/b", pb.EXECUTION_KIND_BATCH_ITEM) == (one.batch, one.kind)


async def test_an_item_can_be_cancelled_before_its_turn(clock: FakeClock) -> None:
    """It has ended at once, and whoever comes to it finds out why."""
    known = Known(clock)
    call = known.begin("executions/b", kind=pb.EXECUTION_KIND_BATCH)
    batch = known.register.begin_batch(call, 2)
    item = known.call("executions/b.0")
    known.register.begin_item(item, pb.ExecuteRequest(prompt="hi"), batch)
    ended = await known.register.cancel(Principal(name="ann"), "executions/b.0", STOP)
    assert (CANCELLED, 1) == (ended.state, known.get("executions/b").item_counts.cancelled)
    assert STOP is item.outcome.cut_short


async def test_items_end_with_their_batch(clock: FakeClock) -> None:
    """A batch that is left takes its items with it, other than those that run apart."""
    known = Known(clock)
    call = known.begin("executions/b", kind=pb.EXECUTION_KIND_BATCH)
    batch = known.register.begin_batch(call, 2)
    items = [known.call(f"executions/b.{number}") for number in range(2)]
    for item in items:
        known.register.begin_item(item, pb.ExecuteRequest(prompt="hi"), batch)
    known.register.runs_apart(items[1], lambda _why: None)
    known.register.call_ended(call, None)
    states = [known.get(f"executions/b{end}").state for end in ("", ".0", ".1")]
    assert [CANCELLED, CANCELLED, QUEUED] == states
    assert [1, 2] == [family.values[()] for family in known.register.families()]


async def test_with_nothing_remembered_what_runs_is_known(clock: FakeClock) -> None:
    """With `max_remembered` 0 an execution can be read and stopped while it runs, no longer."""
    known = Known(clock, max_remembered=0)
    call = known.begin()
    assert QUEUED == known.get().state
    known.register.call_ended(call, None)
    with pytest.raises(UnknownResource):
        known.get()
    assert [0, 0] == [family.values[()] for family in known.register.families()]


async def test_an_unlisted_run_is_nobodys(clock: FakeClock) -> None:
    """Without a register runs begin and end as they do."""
    call = Known(clock).call()
    UNLISTED.runs_apart(call, lambda _why: None)
    UNLISTED.ended(call, None)
    assert call.outcome.cut_short is None
