"""One attempt may not hang, and each way of hanging has a name.

Covers: policies/attempts/wait_timeout.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import DeadlinePassed, FirstTokenTimeout, IdleTimeout, ServiceError
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, make_call, script, started

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

OPTIONS = ExecutionOptions(first_token_timeout_seconds=10, idle_timeout_seconds=3)
OFF = ExecutionOptions(first_token_timeout_seconds=0, idle_timeout_seconds=0)


async def run(
    clock: FakeClock,
    *steps: Any,
    options: ExecutionOptions = OPTIONS,
    deadline: float | None = 100,
    request: pb.ExecuteRequest | None = None,
) -> Any:
    """Play the steps through the policy, moving the clock until it has ended."""
    policy = Alone(AttemptTimeouts(lambda: options, clock))
    call = make_call(clock, deadline=deadline)
    events = policy.stream(call, request or pb.ExecuteRequest(), script(clock, *steps))
    task = asyncio.ensure_future(collect(events))
    for _ in range(600):
        await clock.advance(0.5)
        if task.done():
            break
    return await task


async def test_events_in_time_pass_through(clock: FakeClock) -> None:
    """A stream within all its times is handed on whole."""
    events = await run(clock, 9, started(), delta("a"), 2, delta("b"), 2, completed())
    assert 4 == len(events)


@pytest.mark.parametrize(
    ("steps", "failure"),
    [
        ((11, started()), FirstTokenTimeout),
        ((1, started(), delta("a"), 4, delta("b")), IdleTimeout),
    ],
)
async def test_each_silence_has_its_own_failure(
    clock: FakeClock, steps: tuple[Any, ...], failure: type[ServiceError]
) -> None:
    """A late first token and a later silence are told apart."""
    with pytest.raises(failure):
        await run(clock, *steps)


@pytest.mark.parametrize("options", [OPTIONS, OFF])
async def test_the_deadline_comes_before_longer_times(
    clock: FakeClock, options: ExecutionOptions
) -> None:
    """What ends by the call's deadline says so, whatever the other times are."""
    with pytest.raises(DeadlinePassed, match="deadline of 2 s"):
        await run(clock, 5, started(), options=options, deadline=2)


async def test_times_that_are_off_wait(clock: FakeClock) -> None:
    """With 0 for both times and no deadline nothing is too late."""
    events = await run(clock, 200, started(), 50, completed(), options=OFF, deadline=None)
    assert 2 == len(events)


async def test_the_requests_own_time_comes_first(clock: FakeClock) -> None:
    """A time in the request overrides the configured one, in both directions."""
    longer = pb.ExecuteRequest(first_token_timeout=Duration(seconds=30))
    assert 1 == len(await run(clock, 20, started(), request=longer))
    shorter = pb.ExecuteRequest(idle_timeout=Duration(seconds=1))
    with pytest.raises(IdleTimeout, match="for 1 s"):
        await run(clock, started(), 2, delta("a"), request=shorter)


async def test_a_late_whole_answer_fails_by_the_deadline(clock: FakeClock) -> None:
    """A unary attempt is bounded by the call's deadline."""

    async def slow(_call: Any, _request: Any) -> str:
        await clock.sleep(10)
        return "late"

    policy = Alone(AttemptTimeouts(lambda: OPTIONS, clock))
    answer = policy.unary(make_call(clock, deadline=5), pb.ExecuteRequest(), slow)
    task = asyncio.ensure_future(answer)
    await clock.advance(6)
    with pytest.raises(DeadlinePassed):
        await task


@pytest.mark.parametrize(
    ("deadline", "own", "failure"),
    [(60, 3, FirstTokenTimeout), (2, 3, DeadlinePassed), (60, None, None), (60, 20, None)],
)
async def test_a_whole_answer_is_there_by_the_requests_own_time(
    clock: FakeClock, deadline: float, own: int | None, failure: type[ServiceError] | None
) -> None:
    """Its first piece is all of it: where the request says, not by what streams are given."""
    request = pb.ExecuteRequest()
    if own is not None:
        request.first_token_timeout.seconds = own

    async def slow(_call: Any, _request: Any) -> str:
        await clock.sleep(15)
        return "late"

    policy = Alone(AttemptTimeouts(lambda: OPTIONS, clock))
    answer = asyncio.ensure_future(policy.unary(make_call(clock, deadline=deadline), request, slow))
    await clock.advance(16)
    if failure is None:
        assert "late" == await answer
    else:
        with pytest.raises(failure):
            await answer


async def test_a_timeout_closes_what_stands_further_in(clock: FakeClock) -> None:
    """When an attempt is given up, its iterator is closed before the failure is seen."""
    closed = []

    async def hanging(_call: Any, _request: Any) -> Any:
        try:
            await clock.sleep(1000)
            yield started()
        finally:
            closed.append(True)

    policy = Alone(AttemptTimeouts(lambda: OPTIONS, clock))
    events = policy.stream(make_call(clock), pb.ExecuteRequest(), hanging)
    task = asyncio.ensure_future(collect(events))
    await clock.advance(11)
    with pytest.raises(FirstTokenTimeout):
        await task
    assert [True] == closed
