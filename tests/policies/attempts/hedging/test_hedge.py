"""Hedging: when, who wins, and that nothing is left behind.

Covers: policies/attempts/hedging/latency_quantiles.py, policies/attempts/hedging/race.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.config.sections.resilience import HedgeOptions
from gemini_backend.errors import StreamCut, Unreachable, UpstreamUnavailable
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from tests.support.clock import settle
from tests.support.layers.alone import Alone
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
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

FAST = (1, started("fast"), delta("fast"), completed())


def hedge_of(clock: FakeClock, **options: Any) -> Hedge:
    """Return a policy that hedges after two seconds."""
    built = HedgeOptions(**({"enabled": True, "delay_ms": 2000.0, "budget_ratio": 1} | options))
    return Hedge(lambda: built, clock)


def kinds(events: list[Any]) -> list[str]:
    """Return what each event is."""
    return [event.WhichOneof("event") for event in events]


async def run(clock: FakeClock, hedge: Hedge, upstream: Attempts, call: Call | None = None) -> Any:
    """Run one stream to its end."""
    events = Alone(hedge).stream(call or make_call(clock), REQUEST, upstream.stream)
    return await finish(clock, collect(events))


@pytest.fixture(autouse=True)
async def no_task_is_left() -> Any:
    """Every task that a test starts has ended with it."""
    before = asyncio.all_tasks()
    yield
    assert set() == asyncio.all_tasks() - before - {asyncio.current_task()}


async def test_an_attempt_in_time_has_no_company(clock: FakeClock) -> None:
    """An answer that begins before the delay is the only attempt."""
    upstream = Attempts(clock, (1.9, *ANSWER))
    events = await run(clock, hedge_of(clock), upstream)
    assert "ab" == texts(events)
    assert ["started", "delta", "delta", "completed"] == kinds(events)
    assert 1 == upstream.count


async def test_the_second_attempt_wins_when_it_is_faster(clock: FakeClock) -> None:
    """The slow one is cancelled and closed, and both are on record."""
    upstream, call = Attempts(clock, (100, *ANSWER), FAST), make_call(clock)
    hedge, begun = hedge_of(clock), clock.now()
    events = await run(clock, hedge, upstream, call)
    assert ("fast", ["started", "delta", "completed"]) == (texts(events), kinds(events))
    assert pytest.approx([0, 2], abs=1e-3) == [time - begun for time in upstream.times]
    assert (0, 1, 1) == (upstream.open, hedge.hedged, hedge.won)
    assert [True, False] == [attempt.cancelled for attempt in call.outcome.attempts]


async def test_the_loser_is_closed_before_the_first_event(clock: FakeClock) -> None:
    """When an event is handed on, only the winner is still open."""
    upstream = Attempts(clock, (100, *ANSWER), FAST)
    events: Any = Alone(hedge_of(clock)).stream(make_call(clock), REQUEST, upstream.stream)
    await finish(clock, anext(events))
    assert (2, 1) == (upstream.count, upstream.open)
    await events.aclose()
    assert 0 == upstream.open


async def test_the_first_attempt_may_still_win(clock: FakeClock) -> None:
    """Begun is not lost: the first one goes on beside the second."""
    upstream = Attempts(clock, (2.5, *ANSWER), (100, *ANSWER))
    hedge = hedge_of(clock)
    assert "ab" == texts(await run(clock, hedge, upstream))
    assert (2, 0, 0) == (upstream.count, upstream.open, hedge.won)


async def test_a_failure_before_the_delay_is_told_at_once(clock: FakeClock) -> None:
    """Hedging is for the slow; what has failed is for retry and fallback."""
    upstream = Attempts(clock, (1, *DOWN), ANSWER)
    with pytest.raises(UpstreamUnavailable):
        await run(clock, hedge_of(clock), upstream)
    assert 1 == upstream.count


@pytest.mark.parametrize(
    "plays", [((3, *DOWN), (2, *ANSWER)), ((4, *ANSWER), (1, *DOWN))], ids=["first", "second"]
)
async def test_one_failure_of_two_is_none(clock: FakeClock, plays: Any) -> None:
    """While the other one runs, a failure is waited out."""
    upstream = Attempts(clock, *plays)
    assert "ab" == texts(await run(clock, hedge_of(clock), upstream))


async def test_when_both_fail_the_earlier_failure_is_told(clock: FakeClock) -> None:
    """The failure that came first is the caller's."""
    upstream = Attempts(clock, (4, Unreachable("late")), (1, *DOWN))
    with pytest.raises(UpstreamUnavailable):
        await run(clock, hedge_of(clock), upstream)
    assert 0 == upstream.open


async def test_nothing_is_switched_after_the_first_event(clock: FakeClock) -> None:
    """The winner's later failure is the caller's to see."""
    upstream = Attempts(clock, (3, started(), delta("a"), StreamCut("cut")), (50, *ANSWER))
    with pytest.raises(StreamCut):
        await run(clock, hedge_of(clock), upstream)
    assert (2, 0) == (upstream.count, upstream.open)


@pytest.mark.parametrize("after", [0.5, 2.5], ids=["one runs", "two run"])
async def test_a_caller_that_leaves_ends_every_attempt(clock: FakeClock, after: float) -> None:
    """A cancel at any time closes all that was opened."""
    upstream = Attempts(clock, (100, *ANSWER))
    events = Alone(hedge_of(clock)).stream(make_call(clock), REQUEST, upstream.stream)
    task = asyncio.ensure_future(collect(events))
    await clock.advance(after)
    assert upstream.open > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 == upstream.open


async def test_a_tie_closes_the_one_that_is_not_taken(clock: FakeClock) -> None:
    """Both yield in the same moment: one is handed on, the other one closed."""
    upstream = Attempts(clock, (3, *ANSWER), (1, *ANSWER))
    assert "ab" == texts(await run(clock, hedge_of(clock), upstream))
    assert (2, 0) == (upstream.count, upstream.open)


async def test_whole_answers_are_hedged_too(clock: FakeClock) -> None:
    """Unary calls obey the same rules."""
    upstream = Attempts(clock, (100, *ANSWER), FAST)
    answer = Alone(hedge_of(clock)).unary(make_call(clock), REQUEST, upstream.unary)
    assert "fast" == (await finish(clock, answer)).started.model_version
    assert (2, 0) == (upstream.count, upstream.open)


async def test_the_delay_is_learnt(clock: FakeClock) -> None:
    """Without a fixed delay nothing is hedged until enough is known, and then beyond the p95."""
    hedge = hedge_of(clock, delay_ms=0, minimum_samples=12)
    upstream = Attempts(clock, (0.5, *ANSWER))
    for _ in range(12):
        await run(clock, hedge, upstream)
    assert 12 == upstream.count
    await clock.advance(2)
    upstream = Attempts(clock, (100, *ANSWER), FAST)
    begun = clock.now()
    assert "fast" == texts(await run(clock, hedge, upstream))
    assert pytest.approx(0.5, abs=0.01) == upstream.times[1] - begun


async def test_second_attempts_have_a_budget(clock: FakeClock) -> None:
    """Beyond its share of all calls nothing is hedged."""
    hedge = hedge_of(clock, budget_ratio=0)
    for _ in range(3):
        await run(clock, hedge, Attempts(clock, (2.5, *ANSWER)))
    assert 1 == hedge.hedged


async def test_off_means_off(clock: FakeClock) -> None:
    """Off, which is the default, no task is started."""
    upstream = Attempts(clock, (100, *ANSWER))
    assert "ab" == texts(await run(clock, hedge_of(clock, enabled=False), upstream))
    assert 1 == upstream.count
    assert not HedgeOptions().enabled


@pytest.mark.parametrize("later", range(3))
@pytest.mark.parametrize("first", range(5))
async def test_a_caller_who_is_cancelled_twice_leaves_nothing_open(
    clock: FakeClock, first: int, later: int
) -> None:
    """Whatever has just begun is closed, though nobody waits for that to the end."""
    gate, held, closed = asyncio.get_running_loop().create_future(), [], 0

    async def attempt() -> Any:
        nonlocal closed
        try:
            await asyncio.shield(gate)
            yield started()
        finally:
            closed += 1

    def stream(_call: Any, _request: Any) -> Any:
        held.append(attempt())  # or the garbage collector would close it
        return held[-1]

    events = Alone(hedge_of(clock)).stream(make_call(clock), REQUEST, stream)
    task = asyncio.ensure_future(collect(events))
    await clock.advance(3)
    gate.set_result(None)
    for turns in (first, later):
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.wait({task})
    await settle()
    assert (2, 2) == (len(held), closed)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"delay_ms": 1500.0}, "Hedge(after=1500 ms, budget=1)"),
        (
            {"delay_ms": 0.0, "quantile": 0.95, "budget_ratio": 0.05},
            "Hedge(after=p95, budget=0.05)",
        ),
    ],
)
def test_it_says_when_it_hedges(clock: FakeClock, options: Any, expected: str) -> None:
    """By a time of its own, or by a quantile of the times that were seen."""
    assert expected == repr(hedge_of(clock, **options))
