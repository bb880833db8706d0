"""Each answer says what it cost, by the model that served, and what it saved."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.models.catalogue import load
from gemini_backend.policies.pricing import Pricing
from tests.support.calls import make_call, script
from tests.support.inproc import collect

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.models.registry import Registry
    from tests.support.clock import FakeClock

ARGON = "gemini-4-argon"
CHEAP = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
DEAR = datetime(2026, 12, 1, tzinfo=UTC)
USAGE = content.Usage(prompt_token_count=1000, candidates_token_count=100)


class Registered:
    """The built-in models, at a moment that a test sets."""

    def __init__(self, at: datetime = CHEAP) -> None:
        self.at = at
        self.pricing = Pricing(cast("Registry", SimpleNamespace(catalogue=load(), now=self.now)))

    def now(self) -> datetime:
        return self.at


async def cost(pricing: Pricing, call: Call, version: str = ARGON) -> Any:
    """Return what a whole answer of a version says of its cost."""

    async def answer(_call: Call, _request: Any) -> pb.ProcessResponse:
        return pb.ProcessResponse(started=pb.Started(model_version=version), usage=USAGE)

    request = pb.ProcessRequest(model="models/gemini-3.5-flash")
    return (await pricing.unary(call, request, answer)).cost


async def test_the_model_that_served_decides(clock: FakeClock) -> None:
    """A cost is that of the version in the answer, whatever was asked for."""
    found = await cost(Registered().pricing, make_call(clock))
    assert (3_000_000, f"models/{ARGON}") == (found.cost_nano_usd, found.priced_model)


async def test_streams_say_it_at_their_end(clock: FakeClock) -> None:
    """The last event has the cost; the call knows it for whoever stands outside."""
    call = make_call(clock)
    done = pb.ExecuteResponse(completed=pb.Completed(model_version=ARGON, usage=USAGE))
    events = Registered().pricing.stream(call, pb.ExecuteRequest(), script(clock, done))
    (last,) = await collect(events)
    assert 3_000_000 == last.completed.cost.cost_nano_usd == call.cost_nano_usd


@pytest.mark.parametrize("times", [1, 2])
async def test_what_was_paid_for_before_says_what_it_saves(clock: FakeClock, times: int) -> None:
    """An answer of another call's costs nothing, however often it is given."""
    pricing, call = Registered().pricing, make_call(clock)
    call.pays = False
    for _ in range(times):
        found = await cost(pricing, call)
    assert (0, 3_000_000) == (found.cost_nano_usd, found.saved_nano_usd)


async def test_savings_are_those_of_the_day(clock: FakeClock) -> None:
    """The same answer saves more once its model has become dearer."""
    registered, call = Registered(CHEAP), make_call(clock)
    call.pays = False
    before = (await cost(registered.pricing, call)).saved_nano_usd
    registered.at = DEAR
    assert 2 * before == (await cost(registered.pricing, call)).saved_nano_usd


async def test_an_unknown_model_has_no_cost(clock: FakeClock) -> None:
    """Nothing is said where no price is known; it is not said to be free."""
    found = await cost(Registered().pricing, make_call(clock), "somebodys-own-model")
    assert content.Cost() == found
