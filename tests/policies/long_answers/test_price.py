"""A long answer costs what its hops cost, each at its own version, tier, size and time.

Covers: policies/outcome/usage_sums.py
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.config.sections.answers import CacheOptions, CoalesceOptions
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.prices import cost_of
from gemini_backend.models.registry import Registry
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import CacheLookup
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.stores.memory_answers import MemoryAnswers
from tests.support.layers.inproc import collect
from tests.support.upstreams.counting_upstream import caller
from tests.support.upstreams.hop_upstream import (
    LongAnswer,
    asked,
    hop,
    long_answer,
    usage_of,
)
from tests.support.upstreams.scripted_attempts import finish

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

NIGHT = datetime(2026, 12, 1, tzinfo=UTC)
ARGON, PRO = "gemini-4-argon", "gemini-2.5-pro"
CATALOGUE = load()


class Till:
    """Pricing round the continuation, with whatever stands between, on a day that may end."""

    def __init__(
        self, clock: FakeClock, *between: Any, times: list[datetime] | None = None
    ) -> None:
        self.times = times or [datetime(2026, 11, 30, 12, tzinfo=UTC)]
        registry = Registry(
            CATALOGUE, ModelListing(_nobody, clock, 100), lambda: self._now().timestamp()
        )
        self.policies = (
            Pricing(registry),
            *between,
            Continuation(ExecutionOptions, registry.output_limits, registry.now),
        )
        self.clock = clock

    def _now(self) -> datetime:
        """Return the next time of the list, the last one for ever."""
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]

    async def both(self, upstream: LongAnswer) -> tuple[Any, Any]:
        """Return the cost of a stream, and that of a whole answer."""
        run = Pipeline(*self.policies)
        model = f"models/{ARGON}"
        stream = run.stream(upstream.stream)(caller(self.clock, "e1"), asked(model=model))
        events = await finish(self.clock, collect(stream))
        whole: Any = run.unary(upstream.unary)(caller(self.clock, "e2"), asked(model=model))
        answer = await finish(self.clock, whole)
        return events[-1].completed.cost, answer.cost


async def _nobody() -> list[Any]:
    return []


def price(model: str, usage: content.Usage, at: datetime, **more: Any) -> int:
    """Return what one hop costs by itself."""
    entry = CATALOGUE.find(model)
    assert entry is not None
    cost = cost_of(entry, usage, at, **more)
    assert cost is not None
    return cost.cost_nano_usd


async def test_each_hop_at_its_own_version(clock: FakeClock) -> None:
    """A hop that another model version served is priced as that model's."""
    one, other = usage_of(1000, 50), usage_of(1200, 70, 9)
    till = Till(clock)
    hops = (hop("a", token=b"t1", usage=one, version=ARGON), hop("b", usage=other, version=PRO))
    costs = await till.both(long_answer(clock, *hops))
    expected = price(ARGON, one, till.times[0]) + price(PRO, other, till.times[0])
    assert [expected] * 2 == [cost.cost_nano_usd for cost in costs]
    assert [price_of_parts(cost) for cost in costs] == [expected] * 2


def price_of_parts(cost: content.Cost) -> int:
    """Return what the parts of a cost come to."""
    return (
        cost.input_nano_usd
        + cost.cached_input_nano_usd
        + cost.output_nano_usd
        + cost.thoughts_nano_usd
        + cost.grounding_nano_usd
    )


async def test_each_hop_at_its_own_time(clock: FakeClock) -> None:
    """Prices that change at midnight hold for the hops that ended behind it."""
    usage = usage_of(1000, 50)
    before = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)
    hops = [
        hop("a", token=b"t1", usage=usage, version=ARGON),
        hop("b", usage=usage, version=ARGON),
    ]
    till = Till(clock, times=[before, NIGHT])
    upstream = long_answer(clock, *hops)
    run = Pipeline(*till.policies)
    events = await collect(run.stream(upstream.stream)(caller(clock), asked(model="models/x")))
    expected = price(ARGON, usage, before) + price(ARGON, usage, NIGHT)
    assert 3 * price(ARGON, usage, before) == expected
    assert expected == events[-1].completed.cost.cost_nano_usd


async def test_each_hop_at_its_own_terms_and_size(clock: FakeClock) -> None:
    """A tier, or a price for large prompts, counts for the hop that it is about."""
    small = usage_of(150_000, 10, service_tier=content.SERVICE_TIER_FLEX)
    large = usage_of(250_000, 10)
    hops = (hop("a", token=b"t1", usage=small, version=PRO), hop("b", usage=large, version=PRO))
    till = Till(clock)
    costs = await till.both(long_answer(clock, *hops))
    expected = price(PRO, small, till.times[0], tier="flex") + price(PRO, large, till.times[0])
    assert [expected] * 2 == [cost.cost_nano_usd for cost in costs]


async def test_the_terms_that_a_hop_says_of_itself_count(clock: FakeClock) -> None:
    """A tier that comes with an answer's head, not with its counts, is that hop's."""
    usage = usage_of(1000, 50)
    hops = [
        hop("a", token=b"t1", usage=usage, version=ARGON),
        hop("b", usage=usage, version=ARGON),
    ]
    for told in (hops[0][0].started, hops[0][-1].completed):
        told.served_service_tier = content.SERVICE_TIER_PRIORITY
    till = Till(clock)
    costs = await till.both(long_answer(clock, *hops))
    at = till.times[0]
    expected = price(ARGON, usage, at, tier="priority") + price(ARGON, usage, at)
    assert [expected] * 2 == [cost.cost_nano_usd for cost in costs]


async def test_a_hop_that_reports_nothing_costs_its_prompt_at_least(clock: FakeClock) -> None:
    """Where a hop has no counts, the prompt is estimated for it, and quality says so."""
    usage = usage_of(1000, 50)
    hops = [hop("a", token=b"t1", version=ARGON), hop("b", usage=usage, version=ARGON)]
    till = Till(clock)
    costs = await till.both(long_answer(clock, *hops))
    known = price(ARGON, usage, till.times[0])
    assert all(cost.cost_nano_usd > known for cost in costs)


async def test_without_the_price_of_one_hop_there_is_none(clock: FakeClock) -> None:
    """A cost that leaves a hop out would be wrong."""
    usage = usage_of(10, 5)
    hops = (
        hop("a", token=b"t1", usage=usage, version=ARGON),
        hop("b", usage=usage, version="nobody-knows"),
    )
    costs = await Till(clock).both(long_answer(clock, *hops))
    assert [0, 0] == [cost.cost_nano_usd for cost in costs]


async def test_one_of_several_callers_pays_for_all_hops(clock: FakeClock) -> None:
    """Who shares a long answer is told what it saved: the same sum."""
    usage = usage_of(1000, 50)
    till = Till(clock, SingleFlight(CoalesceOptions, clock))
    paced = {
        b"": [[1, *hop("a", token=b"t1", usage=usage, version=ARGON)]],
        b"t1": [[1, *hop("b", usage=usage, version=ARGON)]],
    }
    upstream = LongAnswer(clock, paced)
    run = Pipeline(*till.policies).stream(upstream.stream)
    model = f"models/{ARGON}"
    calls = [caller(clock, name) for name in ("e1", "e2")]
    both = asyncio.gather(*(collect(run(call, asked(model=model))) for call in calls))
    costs = [events[-1].completed.cost for events in await finish(clock, both)]
    expected = 2 * price(ARGON, usage, till.times[0])
    assert {expected} == {call.outcome.cost_nano_usd for call in calls if call.outcome.pays}
    assert [(0, expected), (expected, 0)] == sorted(
        (cost.cost_nano_usd, cost.saved_nano_usd) for cost in costs
    )


async def test_a_kept_long_answer_says_what_it_saved(clock: FakeClock) -> None:
    """Out of the cache it costs nothing and saved what its hops would have cost."""
    usage = usage_of(1000, 50)
    store = MemoryAnswers(10, 100_000, clock.now)
    layers = (
        CacheLookup(CacheOptions, store, clock),
        CacheFill(CacheOptions, store, clock),
    )
    till = Till(clock, *layers)
    hops = (
        hop("a", token=b"t1", usage=usage, version=ARGON),
        hop("b", usage=usage, version=ARGON),
    )
    upstream = long_answer(clock, *hops)
    paid, saved = await till.both(upstream)
    expected = 2 * price(ARGON, usage, till.times[0])
    assert (expected, expected) == (paid.cost_nano_usd, saved.saved_nano_usd)
    assert [b"", b"t1"] == upstream.tokens


@pytest.mark.parametrize("queries", [("x",), ("x", "y")])
async def test_searches_are_paid_once_for_the_whole_answer(
    clock: FakeClock, queries: tuple[str, ...]
) -> None:
    """What was searched for is told again by later hops, and counts once."""
    usage = usage_of(1000, 50)
    grounding = content.GroundingMetadata(web_search_queries=queries)
    hops = (
        hop("a", token=b"t1", usage=usage, version=ARGON, grounding_metadata=grounding),
        hop("b", usage=usage, version=ARGON, grounding_metadata=grounding),
    )
    till = Till(clock)
    costs = await till.both(long_answer(clock, *hops))
    expected = price(ARGON, usage, till.times[0]) + price(
        ARGON, usage, till.times[0], searches=len(queries)
    )
    assert [expected] * 2 == [cost.cost_nano_usd for cost in costs]
