"""Faults on purpose."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.extension import ChaosRuleOptions
from gemini_backend.errors import ChaosFault
from gemini_backend.policies.attempts.chaos import Chaos
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, make_call, script, started

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

REQUEST = pb.ExecuteRequest(model="models/a")
STEPS = (started(), delta("a"), completed())


async def play(clock: FakeClock, *rules: ChaosRuleOptions, seed: int = 1) -> list[Any]:
    """Run one attempt under these rules."""
    policy = Chaos(lambda: rules, clock, Random(seed))
    return await collect(Alone(policy).stream(make_call(clock), REQUEST, script(clock, *STEPS)))


async def test_no_rule_no_fault(clock: FakeClock) -> None:
    """Without rules everything passes."""
    assert 3 == len(await play(clock))


async def test_an_error_fails_at_once(clock: FakeClock) -> None:
    """A rule for errors fails the attempt before anything is asked."""
    with pytest.raises(ChaosFault, match="a drill is in progress"):
        await play(clock, ChaosRuleOptions(fault="error"))


@pytest.mark.parametrize("after", [0, 1, 2])
async def test_a_cut_lets_so_many_events_through(clock: FakeClock, after: int) -> None:
    """A rule for cuts ends the stream after its number of events."""
    rule = ChaosRuleOptions(fault="cut", after_events=after)
    policy = Chaos(lambda: (rule,), clock, Random(1))
    events = Alone(policy).stream(make_call(clock), REQUEST, script(clock, *STEPS))
    seen = []
    with pytest.raises(ChaosFault):
        async for event in events:
            seen.append(event)  # noqa: PERF401 - what came before the failure counts
    assert after == len(seen)


async def test_latency_delays(clock: FakeClock) -> None:
    """A rule for latency delays the attempt, then lets it through."""
    task = asyncio.ensure_future(play(clock, ChaosRuleOptions(fault="latency", latency_seconds=2)))
    await clock.advance(1.9)
    assert not task.done()
    await clock.advance(0.2)
    assert 3 == len(await task)


async def test_a_rule_for_another_model_does_not_strike(clock: FakeClock) -> None:
    """A rule that names a model leaves the others alone."""
    assert 3 == len(await play(clock, ChaosRuleOptions(fault="error", model="b")))
    with pytest.raises(ChaosFault):
        await play(clock, ChaosRuleOptions(fault="error", model="a"))


async def test_probability_is_kept(clock: FakeClock) -> None:
    """Over many attempts a rule strikes as often as its probability says."""
    policy = Chaos(lambda: (ChaosRuleOptions(fault="error", probability=0.3),), clock, Random(7))

    async def answer(_call: Any, _request: Any) -> str:
        return "fine"

    struck = 0
    for _ in range(2000):
        try:
            await Alone(policy).unary(make_call(clock), REQUEST, answer)
        except ChaosFault:
            struck += 1
    assert 540 < struck < 660
