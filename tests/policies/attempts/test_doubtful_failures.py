"""A caller whose own requests fail does not open a circuit for everybody."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini_backend.config.sections.flow import AdmissionOptions
from gemini_backend.config.sections.resilience import BreakerOptions
from gemini_backend.errors import (
    CircuitOpen,
    EmptyAnswer,
    MalformedAnswer,
    ServiceError,
    UpstreamCancelled,
    UpstreamReply,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.breaker import Breaker
from gemini_backend.policies.attempts.doubtful_failures import MAX_FAILURES, DoubtfulFailures
from gemini_backend.policies.flow.admission import Admission
from gemini_backend.policies.flow.concurrency import GradientLimit
from gemini_backend.principal import Principal
from gemini_backend.telemetry.component_status import CircuitState
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import make_call
from tests.support.upstreams.scripted_attempts import ANSWER, DOWN, REQUEST, Attempts, finish

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

DOUBTFUL = [
    EmptyAnswer("x"),
    MalformedAnswer("x"),
    UpstreamTimedOut("x"),
    UpstreamCancelled("x"),
    UpstreamUnavailable("x", upstream=UpstreamReply(500)),
    UpstreamUnavailable("x", upstream=UpstreamReply(200, code=500)),
]
CERTAIN = [
    UpstreamUnavailable("x"),
    UpstreamUnavailable("x", upstream=UpstreamReply(503)),
    UpstreamUnavailable("x", upstream=UpstreamReply(502)),
]


def breaker_of(clock: FakeClock) -> Breaker:
    options = BreakerOptions(minimum_calls=10, window_seconds=30, break_seconds=5)
    return Breaker(lambda: options, clock)


def called(clock: FakeClock, name: str) -> Call:
    """Return a call of somebody; a name with a colon is an anonymous caller's address."""
    call = make_call(clock)
    return (
        replace(call, peer=name) if ":" in name else replace(call, principal=Principal("t", name))
    )


async def run(clock: FakeClock, breaker: Breaker, caller: str, *play: Any) -> Any:
    """Run one stream of a caller; return what it failed with."""
    upstream = Attempts(clock, play)
    try:
        await finish(
            clock, collect(Alone(breaker).stream(called(clock, caller), REQUEST, upstream.stream))
        )
    except ServiceError as error:
        return type(error)
    return None


@pytest.mark.parametrize("error", DOUBTFUL, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("callers", [("a",), ("ipv4:10.0.0.1:1", "ipv4:10.0.0.1:2")])
async def test_one_caller_opens_no_circuit(
    clock: FakeClock, error: ServiceError, callers: tuple[str, ...]
) -> None:
    """However often its requests fail, by whatever connection, streamed or whole."""
    breaker = breaker_of(clock)
    for caller in itertools.islice(itertools.cycle(callers), 60):
        assert type(error) is await run(clock, breaker, caller, error)
    with pytest.raises(type(error)):
        await Alone(breaker).unary(
            called(clock, callers[0]), REQUEST, Attempts(clock, (error,)).unary
        )
    assert await run(clock, breaker, "b", *ANSWER) is None
    assert (1, 0) == (breaker.states()[0].calls, breaker.states()[0].failures)


@pytest.mark.parametrize("error", DOUBTFUL, ids=lambda error: type(error).__name__)
async def test_several_callers_open_it(clock: FakeClock, error: ServiceError) -> None:
    """Then it is the model."""
    breaker = breaker_of(clock)
    callers = itertools.cycle(["a", "b", "ipv4:10.0.0.1:7"])
    ends = [await run(clock, breaker, next(callers), error) for _ in range(30)]
    assert CircuitOpen in ends


@pytest.mark.parametrize("error", CERTAIN, ids=str)
async def test_what_the_model_api_says_itself_counts_from_anybody(
    clock: FakeClock, error: ServiceError
) -> None:
    """One caller is enough to find an upstream that is down."""
    breaker = breaker_of(clock)
    ends = [await run(clock, breaker, "a", error) for _ in range(30)]
    assert CircuitOpen in ends


async def test_a_doubtful_probe_decides_nothing(clock: FakeClock) -> None:
    """It makes room for another one, which closes the circuit."""
    breaker = breaker_of(clock)
    while CircuitOpen is not await run(clock, breaker, "a", *DOWN):
        pass
    await clock.advance(5)
    opened = breaker.states()[0].opened
    for caller in ("a", "b", "c", "a"):
        assert EmptyAnswer is await run(clock, breaker, caller, EmptyAnswer("x"))
    for _ in range(5):
        assert await run(clock, breaker, "b", *ANSWER) is None
    assert (CircuitState.CLOSED, opened) == (breaker.states()[0].state, breaker.states()[0].opened)


def test_a_caller_counts_as_often_as_the_others_have_failed() -> None:
    """One blip of another caller does not make a hundred of one caller's count."""
    doubts = DoubtfulFailures()
    counted = [doubts.counts("a", 10, 0.0) for _ in range(100)]
    counted.append(doubts.counts("b", 10, 1.0))
    counted += [doubts.counts("a", 10, 2.0) for _ in range(100)]
    assert 1 == counted.count(True)


def test_what_is_long_ago_or_too_much_is_forgotten() -> None:
    """By the window, and by a bound."""
    doubts = DoubtfulFailures()
    doubts.counts("a", 10, 0.0)
    assert doubts.counts("b", 10, 9.9)
    assert not doubts.counts("c", 10, 30.0)
    doubts = DoubtfulFailures()
    doubts.counts("b", 10, 0.0)
    for _ in range(MAX_FAILURES):
        doubts.counts("a", 10, 0.0)
    assert not doubts.counts("a", 10, 0.0)
    assert MAX_FAILURES == len(doubts._failures)
    assert {"a": MAX_FAILURES} == doubts._by_caller


@pytest.mark.parametrize(
    ("error", "shrinks"), [(DOUBTFUL[0], False), (DOUBTFUL[2], False), (CERTAIN[0], True)]
)
async def test_an_adaptive_limit_does_not_shrink_by_it(
    clock: FakeClock, error: ServiceError, shrinks: bool
) -> None:
    """Slots are everybody's."""
    options = AdmissionOptions(adaptive=True, min_concurrent_requests=1, max_concurrent_requests=50)
    limit = GradientLimit(lambda: options)
    limit._value = 50.0
    admission = Admission(lambda: options, clock, limit)
    with pytest.raises(type(error)):
        await Alone(admission).unary(make_call(clock), REQUEST, Attempts(clock, (error,)).unary)
    assert shrinks == (limit.value() != 50)
