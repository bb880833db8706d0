"""Retry: when, how often, after how long, and when not."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.config.sections.resilience import RetryOptions
from gemini_backend.errors import (
    ChaosFault,
    CircuitOpen,
    DailyQuotaExhausted,
    Draining,
    EmptyAnswer,
    InvalidRequest,
    KeyRefused,
    MalformedAnswer,
    Overloaded,
    PromptBlocked,
    ServiceError,
    StreamCut,
    Throttled,
    Unreachable,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.attempt_budget import AttemptBudget
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.telemetry.events import RetryScheduled
from tests.support.clock import settle
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
    texts,
)

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock


class Highest(Random):
    """Draws the end of each range."""

    def uniform(self, _low: float, high: float) -> float:
        return high


def retry_of(clock: FakeClock, **options: Any) -> Retry:
    """Return a policy that draws the longest waits."""
    built = RetryOptions(**({"max_attempts": 3} | options))
    return Retry(lambda: built, clock, Highest())


async def stream(clock: FakeClock, retry: Retry, upstream: Attempts, call: Call) -> list[Any]:
    """Run one stream to its end."""
    return await finish(clock, collect(Alone(retry).stream(call, REQUEST, upstream.stream)))


async def test_a_failure_before_the_first_event_is_tried_again(clock: FakeClock) -> None:
    """The caller sees one whole answer and no trace of the tries before."""
    upstream = Attempts(clock, DOWN, DOWN, ANSWER)
    retry = retry_of(clock)
    assert "ab" == texts(await stream(clock, retry, upstream, make_call(clock)))
    assert (3, 2, 0) == (upstream.count, retry.counts.retries, upstream.open)


async def test_a_whole_answer_is_tried_again_too(clock: FakeClock) -> None:
    """Unary calls obey the same rules."""
    upstream = Attempts(clock, DOWN, ANSWER)
    answer = Alone(retry_of(clock)).unary(make_call(clock), REQUEST, upstream.unary)
    assert 7 == (await finish(clock, answer)).usage.total_token_count
    assert 2 == upstream.count


async def test_nothing_is_tried_again_after_the_first_event(clock: FakeClock) -> None:
    """What has been handed out stays; the failure is the caller's to see."""
    upstream = Attempts(clock, (started(), delta("a"), StreamCut("cut")), ANSWER)
    call, seen = make_call(clock), []
    with pytest.raises(StreamCut) as failed:
        async for event in Alone(retry_of(clock)).stream(call, REQUEST, upstream.stream):
            seen.append(event)  # noqa: PERF401 - what came before the failure counts
    assert (1, 2, False) == (upstream.count, len(seen), failed.value.final)


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (UpstreamUnavailable("x"), 3),
        (Unreachable("x"), 3),
        (StreamCut("x"), 3),
        (EmptyAnswer("x"), 3),
        (ChaosFault("x"), 3),
        (Throttled("x", retry_after=1), 3),
        (DailyQuotaExhausted("x", retry_after=1), 1),
        (InvalidRequest("x"), 1),
        (KeyRefused("x"), 1),
        (PromptBlocked("x"), 1),
        (CircuitOpen("x", retry_after=1), 1),
        (Overloaded("x", retry_after=1), 1),
        (Draining("x"), 1),
        (MalformedAnswer("x"), 3),
        (MalformedAnswer("x").as_lasting(), 1),
    ],
)
async def test_the_kind_of_error_decides(clock: FakeClock, error: ServiceError, tries: int) -> None:
    """Only what upstream may answer differently next time is tried again."""
    upstream = Attempts(clock, (error,))
    with pytest.raises(type(error)):
        await stream(clock, retry_of(clock), upstream, make_call(clock))
    assert tries == upstream.count


async def test_waits_grow_up_to_their_limit(clock: FakeClock) -> None:
    """The longest wait is multiplied by the base at each try, up to the longest of all."""
    upstream = Attempts(clock, DOWN)
    retry = retry_of(clock, max_attempts=5, max_delay_seconds=3)
    with pytest.raises(UpstreamUnavailable):
        await stream(clock, retry, upstream, make_call(clock))
    waits = [b - a for a, b in zip(upstream.times, upstream.times[1:], strict=False)]
    assert pytest.approx([1, 2, 3, 3], abs=1e-6) == waits


async def test_waits_are_drawn_from_all_of_the_range(clock: FakeClock) -> None:
    """Full jitter: waits lie anywhere between 0 and the limit, so that callers spread out."""
    options = RetryOptions(max_attempts=2)
    retry = Retry(lambda: options, clock, Random(1))
    waits = []
    for _ in range(200):
        upstream = Attempts(clock, DOWN, ANSWER)
        await stream(clock, retry, upstream, make_call(clock))
        waits.append(upstream.times[1] - upstream.times[0])
    assert min(waits) < 0.05
    assert max(waits) > 0.95
    assert 0.4 < sum(waits) / len(waits) < 0.6


async def test_retry_info_is_honoured_to_the_fraction(clock: FakeClock) -> None:
    """Where upstream says how long to wait, exactly so long is waited."""
    upstream = Attempts(clock, (Throttled("x", retry_after=45.837906927),), ANSWER)
    await stream(clock, retry_of(clock), upstream, make_call(clock))
    assert pytest.approx(45.837906927, abs=1e-6) == upstream.times[1] - upstream.times[0]


async def test_a_wait_beyond_the_deadline_is_not_begun(clock: FakeClock) -> None:
    """Where the wait does not fit, the call fails at once, with the error as it came."""
    upstream = Attempts(clock, (Throttled("x", retry_after=30),))
    begun, retry = clock.now(), retry_of(clock)
    with pytest.raises(Throttled) as failed:
        await stream(clock, retry, upstream, make_call(clock, deadline=20))
    assert (1, begun, 1) == (upstream.count, clock.now(), retry.counts.out_of_time)
    assert (30, False, {}) == (failed.value.retry_after, failed.value.final, failed.value.metadata)


@pytest.mark.parametrize(("seconds", "tries"), [(60, 2), (61, 1)])
async def test_no_longer_wait_than_allowed_is_asked_of_a_caller(
    clock: FakeClock, seconds: float, tries: int
) -> None:
    """A wait that upstream asks for has a limit of its own, up to which it is kept."""
    upstream = Attempts(clock, (Throttled("x", retry_after=seconds),))
    retry = retry_of(clock, max_attempts=2, max_retry_after_seconds=60)
    with pytest.raises(Throttled):
        await stream(clock, retry, upstream, make_call(clock))
    assert tries == upstream.count


async def test_a_wait_as_long_as_the_time_that_is_left_is_not_begun(clock: FakeClock) -> None:
    """There would be no time for the try after it."""
    for left, tries in ((30, 1), (31, 2)):
        upstream = Attempts(clock, (Throttled("x", retry_after=30),))
        call = make_call(clock, deadline=left)
        with pytest.raises(Throttled):
            await stream(clock, retry_of(clock, max_attempts=2), upstream, call)
        assert tries == upstream.count


async def test_the_last_error_tells_of_the_tries(clock: FakeClock) -> None:
    """After the last try the error is that of it, says how many there were, and is final."""
    upstream = Attempts(clock, DOWN, (StreamCut("cut"),))
    retry = retry_of(clock)
    with pytest.raises(StreamCut) as failed:
        await stream(clock, retry, upstream, make_call(clock))
    assert ({"attempts": "3"}, True) == (failed.value.metadata, failed.value.final)
    assert (2, 1, 0, 0) == (
        retry.counts.retries,
        retry.counts.out_of_attempts,
        retry.counts.out_of_time,
        retry.counts.out_of_budget,
    )


async def test_whole_answers_count_their_tries(clock: FakeClock) -> None:
    """The last error of a whole answer says how many tries there were; each wait is published."""
    upstream, heard = Attempts(clock, DOWN), Recorder()
    retry = Retry(lambda: RetryOptions(max_attempts=3), clock, Random(1), bus=heard.bus)
    with pytest.raises(UpstreamUnavailable) as failed:
        await finish(clock, Alone(retry).unary(make_call(clock), REQUEST, upstream.unary))
    assert ({"attempts": "3"}, True) == (failed.value.metadata, failed.value.final)
    assert [1, 2] == [event.tries for event in heard.of(RetryScheduled)]


async def test_two_tries_are_worth_telling_of(clock: FakeClock) -> None:
    """One try is not: there the error is as it came."""
    for tries, expected in ((1, {}), (2, {"attempts": "2"})):
        upstream = Attempts(clock, DOWN)
        with pytest.raises(UpstreamUnavailable) as failed:
            await stream(clock, retry_of(clock, max_attempts=tries), upstream, make_call(clock))
        assert expected == failed.value.metadata


async def test_with_the_model_down_calls_soon_have_one_try_each(clock: FakeClock) -> None:
    """Further tries are those of the reserve; callers are told when to come back, each another."""
    options = RetryOptions(budget_min_per_second=0, initial_delay_ms=0)
    budget = AttemptBudget(lambda: options, clock)
    retry = Retry(lambda: options, clock, Random(1), budget=budget)
    counted = AttemptTimeouts(ExecutionOptions, clock, budget)
    upstream, refused, waits = Attempts(clock, DOWN), 0, set()
    for _ in range(500):
        work = Pipeline(retry, counted).unary(upstream.unary)(make_call(clock), REQUEST)
        with pytest.raises(UpstreamUnavailable) as failed:
            await finish(clock, work)
        refused += "retry_budget" in failed.value.metadata
        assert failed.value.final
        waits.add(failed.value.retry_after)
    assert (530, 30, 494) == (upstream.count, retry.counts.retries, refused)
    assert (refused, 500) == (retry.counts.out_of_budget, len(waits))
    assert all(wait is not None and 2 <= wait <= 5 for wait in waits)


async def test_the_wait_that_upstream_names_is_told_as_it_is(clock: FakeClock) -> None:
    """Where upstream has said when to come back, nothing else is said."""
    upstream = Attempts(clock, (Throttled("x", retry_after=1),))
    with pytest.raises(Throttled) as failed:
        await stream(clock, retry_of(clock), upstream, make_call(clock))
    assert (True, 1) == (failed.value.final, failed.value.retry_after)


def circuit_open(*, outage: float = 1.0, awaited: bool = True) -> CircuitOpen:
    """Return the refusal of a circuit that lets calls through in half a second."""
    error = CircuitOpen("open", retry_after=0.5)
    error.outage, error.awaited = outage, awaited
    return error


async def test_a_circuit_that_has_just_opened_is_waited_for(clock: FakeClock) -> None:
    """The wait is no try: the call has all of them left, and says how long it has queued."""
    upstream = Attempts(clock, *[(circuit_open(),)] * 9, DOWN, DOWN, ANSWER)
    retry, call, begun = retry_of(clock), make_call(clock), clock.now()
    assert "ab" == texts(await stream(clock, retry, upstream, call))
    # half a second for the circuit and as long again to come back apart; then waits of 1 and 2 s
    assert (9.0, 12.0) == (
        pytest.approx(call.outcome.queued_seconds),
        pytest.approx(clock.now() - begun, abs=1e-3),
    )
    assert 2 == retry.counts.retries


@pytest.mark.parametrize(
    ("outage", "latest"), [(0.0, 0.75), (1.0, 1.0), (3.0, 2.0), (5.0, 3.0), (100.0, 3.0)]
)
async def test_calls_come_back_to_a_circuit_spread_out(
    clock: FakeClock, outage: float, latest: float
) -> None:
    """Over half the time of the outage, at least a quarter of a second, at most 2.5 s."""
    upstream = Attempts(clock, (circuit_open(outage=outage),), ANSWER)
    await stream(clock, retry_of(clock), upstream, make_call(clock))
    assert pytest.approx(latest, abs=1e-6) == upstream.times[1] - upstream.times[0]


async def test_an_old_outage_is_not_waited_for(clock: FakeClock) -> None:
    """The refusal is told at once; after tries it says how many there were, and is final."""
    old = circuit_open(awaited=False)
    begun = clock.now()
    for plays, attempts in (((old,),), {}), ((DOWN, (old,)), {"attempts": "1"}):
        with pytest.raises(CircuitOpen) as failed:
            retry = retry_of(clock, initial_delay_ms=0)
            await stream(clock, retry, Attempts(clock, *plays), make_call(clock))
        assert (attempts, bool(attempts)) == (failed.value.metadata, failed.value.final)
    assert pytest.approx(begun, abs=1e-3) == clock.now()


async def test_no_circuit_is_waited_for_beyond_the_deadline(clock: FakeClock) -> None:
    """Where the wait does not fit, the call fails at once."""
    call, begun = make_call(clock, deadline=0.9), clock.now()
    with pytest.raises(CircuitOpen):
        await stream(clock, retry_of(clock), Attempts(clock, (circuit_open(),)), call)
    assert begun == clock.now()


async def test_no_circuit_is_waited_for_where_another_model_is_in_line(clock: FakeClock) -> None:
    """The next one is asked at once."""
    call, begun = make_call(clock), clock.now()
    call.attempts.elsewhere = True
    with pytest.raises(CircuitOpen):
        await stream(clock, retry_of(clock), Attempts(clock, (circuit_open(),)), call)
    assert begun == clock.now()


async def test_only_so_many_calls_wait_for_circuits(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond that many they are refused at once; one that leaves makes room."""
    monkeypatch.setattr("gemini_backend.policies.attempts.retry.MAX_WAITING", 2)
    retry, upstream = retry_of(clock), Attempts(clock, (circuit_open(),))

    def call() -> asyncio.Future[Any]:
        return asyncio.ensure_future(
            collect(Alone(retry).stream(make_call(clock), REQUEST, upstream.stream))
        )

    waiting = [call(), call()]
    await settle()
    with pytest.raises(CircuitOpen):
        await call()
    waiting.pop().cancel()
    await settle()
    waiting.append(call())
    await settle()
    assert [False, False] == [one.done() for one in waiting]
    for one in waiting:
        one.cancel()


async def test_what_failed_before_the_budget_was_spent_is_told(clock: FakeClock) -> None:
    """A try that the budget refuses is none: the caller gets what its own last try met."""
    refused = CircuitOpen("spent")
    refused.spent = True
    retry, upstream = retry_of(clock), Attempts(clock, DOWN, (refused,))
    with pytest.raises(UpstreamUnavailable) as failed:
        await stream(clock, retry, upstream, make_call(clock))
    assert (1, {}) == (retry.counts.out_of_budget, failed.value.metadata)


async def test_a_caller_that_leaves_during_a_wait_ends_it(clock: FakeClock) -> None:
    """Closing the stream while it waits starts no further attempt."""
    upstream = Attempts(clock, DOWN, ANSWER)
    events: Any = Alone(retry_of(clock)).stream(make_call(clock), REQUEST, upstream.stream)
    task = asyncio.ensure_future(anext(events))
    await clock.advance(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(10)
    assert 1 == upstream.count


async def test_off_means_off(clock: FakeClock) -> None:
    """Switchable off, nothing is tried again, and nothing stands round the stream."""
    upstream = Attempts(clock, DOWN)
    retry = retry_of(clock, enabled=False)
    with pytest.raises(UpstreamUnavailable) as failed:
        await stream(clock, retry, upstream, make_call(clock))
    assert (1, False) == (upstream.count, failed.value.final)
    assert "Retry(off)" == repr(retry)
