"""The breaker: what counts, what is refused, what is told.

Covers: policies/failure_classification.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.resilience import BreakerOptions
from gemini_backend.errors import (
    CircuitOpen,
    DeadlinePassed,
    FirstTokenTimeout,
    IdleTimeout,
    InvalidRequest,
    MalformedAnswer,
    Overloaded,
    PromptBlocked,
    ServiceError,
    StreamCut,
    Throttled,
    UnknownModel,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.breaker import MAX_CIRCUITS, Breaker
from gemini_backend.telemetry.component_status import CircuitState
from gemini_backend.telemetry.events import CircuitChanged
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import delta, make_call, started
from tests.support.upstreams.scripted_attempts import (
    ANSWER,
    DOWN,
    REQUEST,
    Attempts,
    finish,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


def breaker_of(clock: FakeClock, **options: Any) -> Breaker:
    """Return a breaker that opens at two failures of four calls."""
    usual = {"minimum_calls": 4, "window_seconds": 10, "break_seconds": 5, "half_open_probes": 2}
    built = BreakerOptions(**(usual | options))
    return Breaker(lambda: built, clock)


async def run(
    clock: FakeClock, breaker: Breaker, upstream: Attempts, request: Any = REQUEST, times: int = 1
) -> list[type[BaseException] | None]:
    """Run streams one after the other; return how each ended."""
    ends: list[type[BaseException] | None] = []
    for _ in range(times):
        try:
            await finish(
                clock, collect(Alone(breaker).stream(make_call(clock), request, upstream.stream))
            )
            ends.append(None)
        except ServiceError as error:
            ends.append(type(error))
    return ends


async def test_what_fails_too_often_is_left_alone(clock: FakeClock) -> None:
    """Once open nothing reaches upstream, and the refusal says when to come back."""
    breaker, upstream = breaker_of(clock), Attempts(clock, DOWN)
    ends = await run(clock, breaker, upstream, times=6)
    assert [UpstreamUnavailable] * 4 + [CircuitOpen] * 2 == ends
    assert 4 == upstream.count
    await clock.advance(2)
    with pytest.raises(CircuitOpen, match="models/a failed too often") as refused:
        await Alone(breaker).unary(make_call(clock), REQUEST, upstream.unary)
    assert pytest.approx(3, abs=1e-3) == refused.value.retry_after


async def test_it_is_whole_again_within_the_break_time(clock: FakeClock) -> None:
    """After the break, probes go through, and when they succeed so does everything."""
    breaker = breaker_of(clock)
    upstream = Attempts(clock, DOWN, DOWN, DOWN, DOWN, ANSWER)
    await run(clock, breaker, upstream, times=5)
    await clock.advance(5)
    assert [None] * 10 == await run(clock, breaker, upstream, times=10)
    assert CircuitState.CLOSED is breaker.states()[0].state


async def test_a_failed_probe_opens_it_again(clock: FakeClock) -> None:
    """One failed probe begins a new break."""
    breaker, upstream = breaker_of(clock), Attempts(clock, DOWN)
    await run(clock, breaker, upstream, times=4)
    await clock.advance(5)
    assert [UpstreamUnavailable, CircuitOpen] == await run(clock, breaker, upstream, times=2)
    assert 5 == upstream.count


async def test_probes_are_few(clock: FakeClock) -> None:
    """Half open, only so many calls go out at once; the others are refused."""
    breaker = breaker_of(clock, half_open_probes=3)
    await run(clock, breaker, Attempts(clock, DOWN), times=4)
    await clock.advance(5)
    assert [None] == await run(clock, breaker, Attempts(clock, ANSWER))
    slow = Attempts(clock, (1, *ANSWER))
    tasks = [
        asyncio.ensure_future(
            collect(Alone(breaker).stream(make_call(clock), REQUEST, slow.stream))
        )
        for _ in range(5)
    ]
    await clock.advance(2)
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert 3 == sum(isinstance(end, CircuitOpen) for end in ends)
    assert 2 == slow.count


async def test_a_probe_has_proved_itself_once_it_begins(clock: FakeClock) -> None:
    """Nobody waits for a long answer to end before the circuit closes."""
    breaker = breaker_of(clock, half_open_probes=1)
    await run(clock, breaker, Attempts(clock, DOWN), times=4)
    await clock.advance(5)
    long = Attempts(clock, (started(), 1000, delta("a")))
    events: Any = Alone(breaker).stream(make_call(clock), REQUEST, long.stream)
    await anext(events)
    assert [None] == await run(clock, breaker, Attempts(clock, ANSWER))
    await events.aclose()


async def test_a_cancelled_probe_makes_room_for_another(clock: FakeClock) -> None:
    """A caller who leaves proves nothing and blocks nothing."""
    breaker = breaker_of(clock, half_open_probes=1)
    await run(clock, breaker, Attempts(clock, DOWN), times=4)
    await clock.advance(5)
    hanging = Attempts(clock, (1000, *ANSWER))
    task = asyncio.ensure_future(
        collect(Alone(breaker).stream(make_call(clock), REQUEST, hanging.stream))
    )
    await clock.advance(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [None] == await run(clock, breaker, Attempts(clock, ANSWER))


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("x"),
        UnknownModel("x"),
        PromptBlocked("x"),
        Overloaded("x"),
        Throttled("x"),
        DeadlinePassed("x"),
        MalformedAnswer("x").as_lasting(),
    ],
)
async def test_what_is_not_the_models_fault_does_not_count(
    clock: FakeClock, error: ServiceError
) -> None:
    """Callers' faults, our own refusals, blocks, quotas, what lasts never open a circuit."""
    breaker = breaker_of(clock)
    ends = await run(clock, breaker, Attempts(clock, (error,)), times=20)
    assert [type(error)] * 20 == ends
    assert 0 == sum(state.calls for state in breaker.states())


async def test_an_impatient_caller_does_not_count(clock: FakeClock) -> None:
    """A first-token timeout of the request's own says nothing of the model."""
    impatient = pb.ExecuteRequest(model="models/a", first_token_timeout=Duration(nanos=1))
    late = Attempts(clock, (FirstTokenTimeout("late"),))
    breaker = breaker_of(clock)
    await run(clock, breaker, late, impatient, times=10)
    assert 0 == breaker.states()[0].calls
    await run(clock, breaker, late, times=4)
    assert CircuitState.OPEN is breaker.states()[0].state


async def test_a_caller_impatient_between_pieces_does_not_count(clock: FakeClock) -> None:
    """An idle timeout of the request's own says nothing of the model; other failures still do."""
    impatient = pb.ExecuteRequest(model="models/a", idle_timeout=Duration(nanos=1))
    breaker = breaker_of(clock)
    await run(clock, breaker, Attempts(clock, (IdleTimeout("silent"),)), impatient, times=10)
    assert 0 == breaker.states()[0].calls
    await run(clock, breaker, Attempts(clock, DOWN, (IdleTimeout("silent"),)), impatient, times=2)
    await run(clock, breaker, Attempts(clock, (IdleTimeout("silent"),)), times=1)
    assert (2, 2) == (breaker.states()[0].calls, breaker.states()[0].failures)


async def test_an_answer_that_breaks_off_counts_once(clock: FakeClock) -> None:
    """What began well and failed later is one failed call, not two calls."""
    breaker = breaker_of(clock)
    await run(clock, breaker, Attempts(clock, (started(), delta("a"), StreamCut("cut"))), times=3)
    (state,) = breaker.states()
    assert (3, 3) == (state.calls, state.failures)


async def test_slow_calls_count_if_so_set(clock: FakeClock) -> None:
    """An answer that begins late counts as failed; time in our own queue does not."""
    breaker = breaker_of(clock, slow_call_seconds=2)
    await run(clock, breaker, Attempts(clock, (1.9, *ANSWER), (2.1, *ANSWER)), times=2)
    assert (2, 1) == (breaker.states()[0].calls, breaker.states()[0].failures)

    async def queued(call: Any, _request: Any) -> Any:
        call.outcome.queued_seconds += 4
        await clock.sleep(5)

    await finish(clock, Alone(breaker).unary(make_call(clock), REQUEST, queued))
    assert 1 == breaker.states()[0].failures


@pytest.mark.parametrize("whole", [False, True])
async def test_an_upstream_that_hangs_is_found_by_callers_who_give_up(
    clock: FakeClock, whole: bool
) -> None:
    """If slow calls count, so do those that are cancelled, once they are slow and not before."""
    breaker, hanging = breaker_of(clock, slow_call_seconds=2), Attempts(clock, (1000, *ANSWER))
    for seconds in (1, 1, 3, 3):
        call = make_call(clock)
        work: Any = (
            Alone(breaker).unary(call, REQUEST, hanging.unary)
            if whole
            else collect(Alone(breaker).stream(call, REQUEST, hanging.stream))
        )
        task = asyncio.ensure_future(work)
        await clock.advance(seconds)
        task.cancel()
        await asyncio.wait({task})
    assert (2, 2) == (breaker.states()[0].calls, breaker.states()[0].failures)


async def test_a_begun_answer_that_is_cancelled_has_gone_well(clock: FakeClock) -> None:
    """However long it has been read, a caller who leaves in the middle speaks against nobody."""
    breaker = breaker_of(clock, slow_call_seconds=2)
    long = Attempts(clock, (started(), 1000, delta("a")))
    reading = asyncio.ensure_future(
        collect(Alone(breaker).stream(make_call(clock), REQUEST, long.stream))
    )
    await clock.advance(5)
    reading.cancel()
    await asyncio.wait({reading})
    assert (1, 0) == (breaker.states()[0].calls, breaker.states()[0].failures)


async def test_models_have_circuits_of_their_own(clock: FakeClock) -> None:
    """One model's failures close the way to that model only."""
    breaker, upstream = breaker_of(clock), Attempts(clock, DOWN)
    await run(clock, breaker, upstream, times=4)
    other = pb.ExecuteRequest(model="models/b")
    assert [None] == await run(clock, breaker, Attempts(clock, ANSWER), other)


async def test_circuits_are_bounded(clock: FakeClock) -> None:
    """Beyond the bound the circuit not used for longest goes; names of no model leave nothing."""
    breaker = breaker_of(clock)

    async def answer(_call: Any, _request: Any) -> None:
        return None

    for number in range(MAX_CIRCUITS + 5):
        request = pb.ExecuteRequest(model=f"models/{number}")
        await Alone(breaker).unary(make_call(clock), request, answer)
    assert MAX_CIRCUITS == len(breaker.states())
    assert "models/5" == breaker.states()[0].key


async def test_the_state_is_told(clock: FakeClock) -> None:
    """Health learns state, ratio, since when, until when, and how many were refused."""
    breaker = breaker_of(clock)
    await run(clock, breaker, Attempts(clock, DOWN), times=6)
    (state,) = breaker.states()
    assert ("models/a", CircuitState.OPEN, 2) == (state.key, state.state, state.rejected)
    assert state.probe_at == state.since + 5
    assert (4, 4) == (state.calls, state.failures)


async def test_off_means_off(clock: FakeClock) -> None:
    """Switchable off, nothing is refused."""
    breaker, upstream = breaker_of(clock, enabled=False), Attempts(clock, DOWN)
    assert [UpstreamUnavailable] * 9 == await run(clock, breaker, upstream, times=9)
    assert "Breaker(off)" == repr(breaker)


async def test_changes_are_told_with_what_led_to_them(clock: FakeClock) -> None:
    """Who watches learns of model, state, counts, reason and the time to the next probe."""
    options = BreakerOptions(minimum_calls=4, break_seconds=5, half_open_probes=1)
    told = Recorder()
    breaker = Breaker(lambda: options, clock, bus=told.bus)
    await run(clock, breaker, Attempts(clock, DOWN), times=5)
    await clock.advance(5)
    await run(clock, breaker, Attempts(clock, ANSWER), times=2)
    assert [("OPEN", 5.0), ("HALF_OPEN", None), ("CLOSED", None)] == [
        (change.circuit.state.name, change.probe_seconds) for change in told.of(CircuitChanged)
    ]
    opened = told.of(CircuitChanged)[0].circuit
    assert ("models/a", 4, 4, "UPSTREAM_UNAVAILABLE") == (
        opened.key,
        opened.calls,
        opened.failures,
        opened.reason,
    )


async def test_refusals_are_counted_beyond_the_circuit(clock: FakeClock) -> None:
    """A circuit that is forgotten takes nothing from the total."""
    breaker = breaker_of(clock)
    await run(clock, breaker, Attempts(clock, DOWN), times=6)
    before = breaker.rejected
    for number in range(MAX_CIRCUITS):
        other = pb.ExecuteRequest(model=f"models/{number}")
        await run(clock, breaker, Attempts(clock, ANSWER), other)
    assert (2, 2, 2) == (before, breaker.rejected, breaker.forgotten_rejected)


async def test_refusals_are_counted_beyond_a_model_that_is_gone(clock: FakeClock) -> None:
    """A probe that finds the model unknown forgets its circuit, and no refusal."""
    breaker = breaker_of(clock)
    await run(clock, breaker, Attempts(clock, DOWN), times=6)
    await clock.advance(5)
    await run(clock, breaker, Attempts(clock, (UnknownModel("gone"),)), times=2)
    assert (2, 2, []) == (breaker.rejected, breaker.forgotten_rejected, breaker.states())


async def test_calls_may_be_slow_within_a_second(clock: FakeClock) -> None:
    """A limit below a second counts as any other; at the limit a call is slow."""
    breaker = breaker_of(clock, slow_call_seconds=0.5)
    await run(clock, breaker, Attempts(clock, (0.4, *ANSWER), (0.5, *ANSWER)), times=2)
    assert (2, 1) == (breaker.states()[0].calls, breaker.states()[0].failures)


async def test_switched_off_it_tells_of_no_circuit(clock: FakeClock) -> None:
    """Circuits from before say nothing about what is let through now."""
    options = [BreakerOptions(minimum_calls=4)]
    breaker = Breaker(lambda: options[-1], clock)
    await run(clock, breaker, Attempts(clock, DOWN), times=4)
    options.append(BreakerOptions(enabled=False))
    assert [] == breaker.states()
