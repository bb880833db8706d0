"""Retries, hedges, keys and other models, all at once: they share one budget of attempts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import KEY, UpstreamKey
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.config.sections.resilience import (
    BreakerOptions,
    FallbackOptions,
    HedgeOptions,
    RetryOptions,
)
from gemini_backend.errors import (
    EmptyAnswer,
    KeyRefused,
    RefusedByModelApi,
    ServiceError,
    Throttled,
    UpstreamUnavailable,
)
from gemini_backend.policies.attempts.attempt_budget import AttemptBudget
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.attempts.breaker import Breaker, by_model_and_key
from gemini_backend.policies.attempts.fallback import Fallback
from gemini_backend.policies.attempts.hedging.hedge import Hedge
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.policies.attempts.key_selection import KeySelection
from gemini_backend.policies.attempts.retry import Retry
from gemini_backend.policies.pipeline import Pipeline
from tests.support.clock import FakeClock
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, make_call, started
from tests.support.upstreams.scripted_attempts import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gemini_backend.call import Call

FAILURES = {
    "down": UpstreamUnavailable("x"),
    "empty": EmptyAnswer("x"),
    "throttled": Throttled("x", retry_after=0.5),
    "key": KeyRefused("x"),
    "invalid": RefusedByModelApi("x"),
}
MODELS = ("a", "b", "c")


class Stack:
    """The layers that make attempts, in the order of the chain, round a scripted upstream."""

    def __init__(
        self,
        plays: Sequence[str],
        *,
        keys: int = 1,
        models: int = 1,
        down: str = "",
        hedged: bool = True,
        **retry: Any,
    ) -> None:
        self.clock = clock = FakeClock()
        self.plays = plays
        self.down = down
        self.attempts: list[str] = []
        self.throttled = 0
        self.made: dict[str, int] = {}
        options = RetryOptions(**({"initial_delay_ms": 100, "budget_min_per_second": 0} | retry))
        self.options = options
        budget = AttemptBudget(lambda: options, clock)
        hedge = HedgeOptions(enabled=hedged, delay_ms=200, budget_ratio=1)
        fallback = FallbackOptions(models=MODELS[1:models])
        every = [UpstreamKey(f"k{n}", f"p{n}") for n in range(keys)]
        self.keys = KeyPool(every, clock, lambda: 1.0)
        self.run = Pipeline(
            Fallback(lambda: fallback, clock, budget=budget),
            Hedge(lambda: hedge, clock, budget=budget),
            Retry(lambda: options, clock, Random(1), budget=budget),
            KeySelection(self.keys, budget),
            Breaker(BreakerOptions, clock, by_model_and_key),
            AttemptTimeouts(ExecutionOptions, clock, budget),
        ).stream(self._upstream)

    async def _upstream(self, call: Call, request: Any) -> AsyncIterator[Any]:
        key = KEY.get()
        assert key is not None
        play = self.plays[len(self.attempts) % len(self.plays)]
        play = "down" if request.model == self.down else play
        self.attempts.append(request.model)
        self.made[call.execution] = self.made.get(call.execution, 0) + 1
        failure: ServiceError | None = None
        if play == "slow":
            await self.clock.sleep(0.5)
        elif play != "fine":
            failure = type(FAILURES[play])("x", retry_after=FAILURES[play].retry_after)
            self.throttled += play == "throttled"
        self.keys.note(key, request.model, failure)
        if failure is not None:
            raise failure
        for event in (started(), delta("a"), completed()):
            yield event

    async def ask(self, number: int) -> bool:
        """Make one execution; say whether it succeeded."""
        call = make_call(self.clock).derive(execution=f"executions/{number}")
        request = pb.ExecuteRequest(prompt="x", model="models/a")
        with suppress(ServiceError):
            await collect(self.run(call, request))
            return True
        return False

    async def ask_all(self, count: int, at_once: int) -> int:
        """Make so many executions, so many at a time; return how many succeeded."""
        numbers = iter(range(count))

        async def work() -> int:
            return sum([await self.ask(number) for number in numbers])

        return sum(await asyncio.gather(*(work() for _ in range(at_once))))


@settings(max_examples=40, deadline=None)
@given(
    plays=st.lists(st.sampled_from(["fine", "slow", *FAILURES]), min_size=1, max_size=12),
    keys=st.integers(1, 4),
    models=st.integers(1, 3),
    most=st.integers(1, 7),
    reserve=st.sampled_from([0.0, 3.0, 30.0]),
    at_once=st.sampled_from([1, 5]),
)
def test_no_mixture_exceeds_the_budget(
    *, plays: list[str], keys: int, models: int, most: int, reserve: float, at_once: int
) -> None:
    """No execution has more attempts than it may, nor have all beyond ratio and reserve."""

    async def play() -> None:
        stack = Stack(plays, keys=keys, models=models, max_attempts=most, budget_reserve=reserve)
        count = 30
        succeeded = await finish(stack.clock, stack.ask_all(count, at_once))
        assert max(stack.made.values(), default=0) <= most
        refused_keys = len(stack.attempts) if "key" in plays else 0
        stood_in = sum(model != "models/a" for model in stack.attempts)
        further = len(stack.attempts) - len(stack.made)
        excused = stack.throttled if succeeded else 0  # their waits were named by the model API
        assert further <= 0.3 * succeeded + models * reserve + refused_keys + stood_in + excused

    asyncio.run(play())


@pytest.mark.parametrize(
    ("keys", "models", "failure", "at_once"),
    [
        (1, 1, "down", 1),
        (1, 1, "empty", 40),
        (3, 1, "key", 40),
        (3, 1, "throttled", 40),
        (1, 3, "down", 40),
        (3, 3, "down", 40),
        (3, 3, "throttled", 1),
    ],
)
def test_while_everything_fails_attempts_stay_few(
    keys: int, models: int, failure: str, at_once: int
) -> None:
    """At 100 % failure an execution has at most 1.3, whatever keys and models there are."""

    async def play() -> None:
        stack = Stack([failure], keys=keys, models=models)
        assert 0 == await finish(stack.clock, stack.ask_all(400, at_once))
        assert len(stack.attempts) / 400 <= 1.3

    asyncio.run(play())


def test_a_fifth_of_failures_is_met_by_nobody() -> None:
    """With every fifth attempt failing all executions succeed, at 1.25 attempts each."""

    async def play() -> None:
        random = Random(3)
        plays = ["down" if random.random() < 0.2 else "fine" for _ in range(1_300)]
        stack = Stack(plays, hedged=False)
        succeeded = await finish(stack.clock, stack.ask_all(1000, 40))
        assert succeeded >= 999
        assert len(stack.attempts) / 1000 <= 1.3

    asyncio.run(play())


def test_a_stand_in_answers_all_that_the_first_model_cannot() -> None:
    """With one model down and the next one well, no execution fails for want of budget."""

    async def play() -> None:
        stack = Stack(["fine"], models=2, down="models/a")
        assert 300 == await finish(stack.clock, stack.ask_all(300, 10))

    asyncio.run(play())


def test_what_is_told_is_the_models_own_failure() -> None:
    """An execution whose budget is spent does not report the budget."""

    async def play() -> None:
        stack, seen = Stack(["down"], budget_reserve=1), []
        for _ in range(8):
            request = pb.ExecuteRequest(prompt="x", model="models/a")
            with pytest.raises(UpstreamUnavailable) as failed:
                await finish(stack.clock, collect(stack.run(make_call(stack.clock), request)))
            seen.append(failed.value.metadata)
        spent = {"retry_budget": "spent"}
        assert [{"attempts": "2"} | spent] + [spent] * 7 == seen

    asyncio.run(play())
