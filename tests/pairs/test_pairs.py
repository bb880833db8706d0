"""Policies that can interact, two and more at a time, counting attempts against executions."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.config.sections.flow import AdmissionOptions, QuotaOptions
from gemini_backend.config.sections.resilience import (
    BreakerOptions,
    FallbackOptions,
    HedgeOptions,
    RetryOptions,
)
from gemini_backend.errors import (
    CircuitOpen,
    DeadlinePassed,
    EmptyAnswer,
    FirstTokenTimeout,
    Overloaded,
    QuotaExhausted,
    ServiceError,
    StreamCut,
    Throttled,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.attempts.breaker import Breaker
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import FixedLimit
from gemini_backend.policies.flow.quota import Quota
from gemini_backend.policies.pipeline import Pipeline
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, make_call, started
from tests.support.upstreams.scripted_attempts import (
    ANSWER,
    DOWN,
    REQUEST,
    Attempts,
    finish,
    texts,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


def retry(clock: FakeClock, **options: Any) -> Retry:
    """Return a retry of three attempts, which nobody counts."""
    built = RetryOptions(**({"max_attempts": 3} | options))
    return Retry(lambda: built, clock, Random(1))


def breaker(clock: FakeClock, **options: Any) -> Breaker:
    """Return a breaker that opens at three failures."""
    built = BreakerOptions(**({"minimum_calls": 3, "break_seconds": 100} | options))
    return Breaker(lambda: built, clock)


def admission(clock: FakeClock, slots: int) -> Admission:
    """Return an admission with so many slots."""
    built = AdmissionOptions(max_concurrent_requests=slots)
    return Admission(lambda: built, clock, FixedLimit(lambda: built))


def timeouts(clock: FakeClock, first: float) -> AttemptTimeouts:
    """Return timeouts of one attempt."""
    built = ExecutionOptions(first_token_timeout_seconds=first)
    return AttemptTimeouts(lambda: built, clock)


def fallback(clock: FakeClock, *models: str) -> Fallback:
    """Return a fallback to these models."""
    built = FallbackOptions(models=models)
    return Fallback(lambda: built, clock)


def hedge(clock: FakeClock, delay: float) -> Hedge:
    """Return a hedge after so many seconds."""
    built = HedgeOptions(enabled=True, delay_ms=delay * 1000, budget_ratio=1)
    return Hedge(lambda: built, clock)


def quota(clock: FakeClock, **options: Any) -> Quota:
    """Return a quota whose day has an hour left."""
    built = QuotaOptions(**options)
    return Quota(lambda: built, clock, lambda: 3600)


def stream(
    clock: FakeClock, upstream: Attempts, *policies: Any, deadline: float | None = None
) -> Any:
    """Return the work of one stream through the policies."""
    call = make_call(clock, deadline=deadline)
    return collect(Pipeline(*policies).stream(upstream.stream)(call, REQUEST))


async def test_retry_and_breaker_each_try_counts(clock: FakeClock) -> None:
    """The breaker sees every try; once it opens, retry stops at once."""
    upstream, circuit = Attempts(clock, DOWN), breaker(clock)
    with pytest.raises(UpstreamUnavailable):
        await finish(clock, stream(clock, upstream, retry(clock), circuit))
    assert (3, 3) == (upstream.count, circuit.states()[0].failures)
    begun = clock.now()
    with pytest.raises(CircuitOpen):
        await finish(clock, stream(clock, upstream, retry(clock), circuit))
    assert (3, begun) == (upstream.count, clock.now())


async def test_retry_and_breaker_an_opening_in_mid_retry(clock: FakeClock) -> None:
    """A try that finds the circuit open is the last one, and the refusal is what is told."""
    upstream, circuit = Attempts(clock, DOWN), breaker(clock, minimum_calls=2)
    with pytest.raises(CircuitOpen) as failed:
        await finish(clock, stream(clock, upstream, retry(clock), circuit))
    assert (2, True) == (upstream.count, failed.value.final)


async def test_retry_and_timeouts_each_try_has_its_own(clock: FakeClock) -> None:
    """A try that gives no first token is given up, closed, and made again."""
    upstream = Attempts(clock, (100, *ANSWER), (100, *ANSWER), ANSWER)
    events = await finish(clock, stream(clock, upstream, retry(clock), timeouts(clock, 5)))
    assert ("ab", 3, 1) == (texts(events), upstream.count, upstream.most_open)
    upstream = Attempts(clock, (100, *ANSWER))
    with pytest.raises(FirstTokenTimeout):
        await finish(clock, stream(clock, upstream, retry(clock), timeouts(clock, 5)))
    assert 3 == upstream.count


async def test_retry_and_timeouts_share_one_deadline(clock: FakeClock) -> None:
    """All tries together end with the call's deadline; what ends by it is not tried again."""
    upstream = Attempts(clock, (100, *ANSWER))
    begun = clock.now()
    with pytest.raises(DeadlinePassed):
        work = stream(clock, upstream, retry(clock), timeouts(clock, 5), deadline=8)
        await finish(clock, work)
    assert (2, 8) == (upstream.count, pytest.approx(clock.now() - begun, abs=1e-3))


async def test_retry_and_admission_no_slot_is_held_while_waiting(clock: FakeClock) -> None:
    """During a wait between tries the slot serves others."""
    slots = admission(clock, 1)
    upstream = Attempts(clock, (Throttled("x", retry_after=50),), ANSWER)
    first = asyncio.ensure_future(stream(clock, upstream, retry(clock), slots))
    await clock.advance(1)
    assert 0 == slots.running
    assert "ab" == texts(await stream(clock, upstream, retry(clock), slots))
    assert not first.done()
    assert "ab" == texts(await finish(clock, first))
    assert (3, 1, 0) == (upstream.count, upstream.most_open, slots.running)


async def test_retry_and_admission_a_refusal_is_not_tried_again(clock: FakeClock) -> None:
    """Who finds the queue hopeless is told at once, not after three tries."""
    built = AdmissionOptions(max_concurrent_requests=1, max_queued=0)
    slots = Admission(lambda: built, clock, FixedLimit(lambda: built))
    upstream = Attempts(clock, (started(), 10, completed()))
    busy = asyncio.ensure_future(stream(clock, upstream, slots))
    await clock.advance(1)
    begun = clock.now()
    with pytest.raises(Overloaded):
        await finish(clock, stream(clock, upstream, retry(clock), slots))
    assert begun == clock.now()
    await finish(clock, busy)


async def test_breaker_and_admission_queueing_is_no_failure(clock: FakeClock) -> None:
    """What the queue refuses does not open the circuit."""
    built = AdmissionOptions(max_concurrent_requests=1, max_queued=0)
    slots, circuit = Admission(lambda: built, clock, FixedLimit(lambda: built)), breaker(clock)
    busy = asyncio.ensure_future(stream(clock, Attempts(clock, (10, *ANSWER)), circuit, slots))
    await clock.advance(1)
    for _ in range(20):
        with pytest.raises(Overloaded):
            await stream(clock, Attempts(clock, ANSWER), circuit, slots)
    assert 0 == circuit.states()[0].failures
    assert "ab" == texts(await finish(clock, busy))


async def test_retry_and_quota_wait_once(clock: FakeClock) -> None:
    """A throttled call waits as long as upstream says, not once for each policy."""
    upstream = Attempts(clock, (Throttled("x", retry_after=20.25),), ANSWER)
    begun = clock.now()
    await finish(clock, stream(clock, upstream, retry(clock), quota(clock)))
    assert pytest.approx(20.25, abs=1e-3) == upstream.times[1] - begun


async def test_fallback_and_quota_a_spent_model_is_left_at_once(clock: FakeClock) -> None:
    """A model whose wait is too long is passed over for the next one."""
    limits, models = quota(clock, max_wait_seconds=10), fallback(clock, "b")
    upstream = Attempts(clock, (Throttled("x", retry_after=40),), ANSWER)
    with pytest.raises(Throttled):
        await finish(clock, stream(clock, upstream, limits))
    events = await finish(clock, stream(clock, upstream, models, limits))
    assert ["models/a", "models/b"] == upstream.models
    assert "models/b" == events[0].started.served_model
    with pytest.raises(QuotaExhausted):
        await finish(clock, stream(clock, upstream, limits))


async def test_fallback_and_retry_each_model_has_all_its_tries(clock: FakeClock) -> None:
    """One execution is at most models times tries, in that order, and all are on record."""
    upstream = Attempts(clock, DOWN)
    call = make_call(clock)
    pipeline = Pipeline(fallback(clock, "b", "c"), retry(clock, max_attempts=2))
    with pytest.raises(UpstreamUnavailable):
        await finish(clock, collect(pipeline.stream(upstream.stream)(call, REQUEST)))
    expected = ["models/a"] * 2 + ["models/b"] * 2 + ["models/c"] * 2
    assert expected == upstream.models == [attempt.model for attempt in call.outcome.attempts]


async def test_fallback_and_breaker_an_open_circuit_costs_nothing(clock: FakeClock) -> None:
    """With the first model's circuit open the second one is asked without delay."""
    circuit, models = breaker(clock), fallback(clock, "b")
    for _ in range(3):
        with pytest.raises(UpstreamUnavailable):
            await stream(clock, Attempts(clock, DOWN), circuit)
    upstream, begun = Attempts(clock, ANSWER), clock.now()
    events = await finish(clock, stream(clock, upstream, models, retry(clock), circuit))
    assert (["models/b"], begun) == (upstream.models, clock.now())
    assert "models/a" == events[0].started.model


async def test_hedge_and_retry_each_side_tries_for_itself(clock: FakeClock) -> None:
    """The second side of a hedge has tries of its own; whichever answers ends the other."""
    upstream = Attempts(clock, (100, *ANSWER), DOWN, ANSWER)
    events = await finish(clock, stream(clock, upstream, hedge(clock, 2), retry(clock)))
    assert ("ab", 3, 0) == (texts(events), upstream.count, upstream.open)


async def test_hedge_and_admission_the_loser_gives_its_slot_back(clock: FakeClock) -> None:
    """When the answer ends no slot is held, whichever side won."""
    slots = admission(clock, 2)
    upstream = Attempts(clock, (100, *ANSWER), ANSWER)
    await finish(clock, stream(clock, upstream, hedge(clock, 2), slots))
    assert (2, 0) == (upstream.count, slots.running)


async def test_hedge_and_timeouts_work_across_tasks(clock: FakeClock) -> None:
    """The first event comes in one task and the rest in another; times are kept in both."""
    upstream = Attempts(clock, (3, started(), delta("a"), 1000, completed()), (100, *ANSWER))
    with pytest.raises(ServiceError, match="sent nothing for"):
        await finish(clock, stream(clock, upstream, hedge(clock, 2), timeouts(clock, 5)))
    assert 0 == upstream.open


async def test_all_together_nothing_is_lost_or_doubled(clock: FakeClock) -> None:
    """With every fifth attempt failing in every way, each answer is whole or a failure."""
    random = Random(7)
    faults: list[Any] = [
        DOWN,
        (Throttled("x", retry_after=0.3),),
        (StreamCut("x"),),
        (EmptyAnswer("x"),),
        (60, *ANSWER),
        (started(), delta("a"), StreamCut("late")),
    ]
    plays = [random.choice(faults) if random.random() < 0.2 else ANSWER for _ in range(3000)]
    upstream = Attempts(clock, *plays)
    slots, circuit, limits = admission(clock, 5), breaker(clock, minimum_calls=50), quota(clock)
    policies = (
        fallback(clock, "b"),
        hedge(clock, 30),
        retry(clock),
        circuit,
        limits,
        slots,
        timeouts(clock, 10),
    )
    whole = cut = failed = 0
    for _ in range(600):
        seen: list[Any] = []
        try:
            events = Pipeline(*policies).stream(upstream.stream)(make_call(clock), REQUEST)
            await finish(clock, drain(events, seen))
        except StreamCut:
            cut += 1
            assert "a" == texts(seen)
        except ServiceError:
            failed += 1
            assert [] == seen
        else:
            whole += 1
            kinds = [event.WhichOneof("event") for event in seen]
            assert (["started", "delta", "delta", "completed"], "ab") == (kinds, texts(seen))
    assert (600, 0) == (whole + cut + failed, slots.running)
    assert failed <= 2
    assert whole > 550
    assert 0 == upstream.open


async def drain(events: Any, seen: list[Any]) -> None:
    """Put what comes into a list, which keeps it when the rest fails."""
    async for event in events:
        seen.append(event)  # noqa: PERF401 - what came before a failure counts
