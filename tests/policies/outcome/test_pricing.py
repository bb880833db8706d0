"""What an answer cost: by whom it was served, at which terms, and who paid."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord
from gemini_backend.errors import StreamCut
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.registry import Registry
from gemini_backend.policies.outcome.pricing import Pricing, tier_of
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, make_call, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

NOW = datetime(2026, 11, 23, tzinfo=UTC)
ASKED = pb.ExecuteRequest(model="models/gemini-2.5-pro")
USAGE = content.Usage(prompt_token_count=1000, candidates_token_count=10)


async def nobody() -> list[Any]:
    return []


@pytest.fixture
def pricing(clock: FakeClock) -> Pricing:
    """The layer over the built-in catalogue, on a day before prices change."""
    return Pricing(Registry(load(), ModelListing(nobody, clock, 100), NOW.timestamp))


async def streamed(pricing: Pricing, call: Call, version: str, *queries: tuple[str, ...]) -> Any:
    """Return what `completed` says of a stream with these searches in its deltas."""

    async def model(_call: Call, _request: Any) -> AsyncIterator[Any]:
        yield started()
        for told in queries:
            event = delta("a")
            event.delta.grounding_metadata.web_search_queries.extend(told)
            yield event
        end = completed()
        end.completed.model_version = version
        end.completed.usage.CopyFrom(USAGE)
        yield end

    return (await collect(Alone(pricing).stream(call, ASKED, model)))[-1].completed


async def test_who_served_is_paid(pricing: Pricing, clock: FakeClock) -> None:
    """By the version that the answer names; by the model asked for where it names none."""
    call = make_call(clock)
    told = await streamed(pricing, call, "gemini-3.5-flash-lite-001")
    assert ("models/gemini-3.5-flash-lite", 1000 * 300 + 10 * 2500) == (
        told.cost.priced_model,
        told.cost.cost_nano_usd,
    )
    assert told.cost.cost_nano_usd == call.outcome.cost_nano_usd
    told = await streamed(pricing, call, "")
    assert "models/gemini-2.5-pro" == told.cost.priced_model
    assert not (await streamed(pricing, call, "nobody-knows")).HasField("cost")


async def test_what_others_paid_costs_nothing(pricing: Pricing, clock: FakeClock) -> None:
    """And says what it saved."""
    call = make_call(clock)
    call.outcome.pays = False
    for _ in range(2):
        told = await streamed(pricing, call, "gemini-2.5-pro")
        assert (0, 1000 * 1250 + 10 * 10_000) == (
            told.cost.cost_nano_usd,
            told.cost.saved_nano_usd,
        )
    assert not call.outcome.cost_nano_usd


@pytest.mark.parametrize(
    ("version", "expected"), [("gemini-3.5-flash", 2 * 14_000_000), ("gemini-2.5-pro", 35_000_000)]
)
async def test_searches_are_counted_once(
    pricing: Pricing, clock: FakeClock, version: str, expected: int
) -> None:
    """What later events tell again is not another search; before Gemini 3 a prompt is paid for."""
    told = await streamed(pricing, make_call(clock), version, ("a",), ("a", "b"), ("a", "b"))
    assert expected == told.cost.grounding_nano_usd
    none = await streamed(pricing, make_call(clock), version)
    assert 0 == none.cost.grounding_nano_usd

    async def whole(_call: Call, _request: Any) -> pb.ProcessResponse:
        answer = pb.ProcessResponse(usage=USAGE)
        answer.started.model_version = version
        for _ in range(2):
            found = answer.candidates.add().grounding_metadata
            found.web_search_queries.extend(["a", "b"])
        return answer

    answer = await Alone(pricing).unary(make_call(clock), ASKED, whole)
    assert expected == answer.cost.grounding_nano_usd


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, "standard"),
        ({"service_tier": content.SERVICE_TIER_STANDARD}, "standard"),
        ({"service_tier": content.SERVICE_TIER_FLEX}, "flex"),
        ({"service_tier": content.SERVICE_TIER_PRIORITY}, "priority"),
        ({"service_tier_raw": "FLEX"}, "flex"),
        ({"service_tier_raw": "SERVICE_TIER_BATCH"}, "batch"),
        ({"service_tier_raw": "novel"}, "standard"),
        ({"traffic_type": content.TRAFFIC_TYPE_ON_DEMAND}, "standard"),
        ({"traffic_type": content.TRAFFIC_TYPE_ON_DEMAND_FLEX}, "flex"),
        ({"traffic_type": content.TRAFFIC_TYPE_PROVISIONED_THROUGHPUT}, "standard"),
    ],
)
def test_the_terms_are_those_that_the_answer_names(fields: dict[str, Any], tier: str) -> None:
    """However they are written; what nobody knows counts as the ordinary ones."""
    assert tier == tier_of(content.Usage(**fields))


def test_the_header_comes_before_the_counts() -> None:
    """What the answer says of itself decides, by name or as text; what it leaves out does not."""
    usage = content.Usage(service_tier=content.SERVICE_TIER_FLEX)
    priority = content.SERVICE_TIER_PRIORITY
    assert "priority" == tier_of(usage, pb.Completed(served_service_tier=priority))
    assert "batch" == tier_of(usage, pb.Started(served_service_tier_raw="batch"))
    assert "flex" == tier_of(usage, pb.Completed())
    deferred = pb.Completed(served_service_tier=content.SERVICE_TIER_DEFERRED)
    assert "standard" == tier_of(usage, deferred)


async def test_the_tier_that_served_decides_the_price(pricing: Pricing, clock: FakeClock) -> None:
    """Also of a whole answer, and of what was saved."""
    call = make_call(clock)
    served = content.SERVICE_TIER_PRIORITY

    async def stream(_call: Call, _request: Any) -> AsyncIterator[Any]:
        yield started()
        end = completed()
        end.completed.model_version, end.completed.served_service_tier = "gemini-3.8-flash", served
        end.completed.usage.CopyFrom(USAGE)
        yield end

    async def whole(_call: Call, _request: Any) -> pb.ProcessResponse:
        answer = pb.ProcessResponse(usage=USAGE)
        answer.started.model_version = "gemini-3.8-flash"
        answer.started.served_service_tier = served
        return answer

    expected = 1000 * 750 * 18 // 10 + 10 * 3750 * 18 // 10
    streamed_ = (await collect(Alone(pricing).stream(call, ASKED, stream)))[-1].completed
    assert expected == streamed_.cost.cost_nano_usd
    assert expected == (await Alone(pricing).unary(call, ASKED, whole)).cost.cost_nano_usd
    call.outcome.pays = False
    assert expected == (await Alone(pricing).unary(call, ASKED, whole)).cost.saved_nano_usd


@pytest.mark.parametrize("kind", [StreamCut, asyncio.CancelledError])
@pytest.mark.parametrize("pays", [True, False])
async def test_what_did_not_come_to_its_end_has_a_cost(
    pricing: Pricing, clock: FakeClock, kind: type[BaseException], pays: bool
) -> None:
    """What the last attempt has used is paid for, by the model that was asked; once."""
    ends = kind("cut")
    call = make_call(clock)
    call.outcome.pays = pays
    call.outcome.attempts.append(AttemptRecord("models/gemini-2.5-pro", 0.0, used=lambda: USAGE))

    async def broken(_call: Call, _request: Any) -> AsyncIterator[Any]:
        yield started()
        raise ends

    async def failing(_call: Call, _request: Any) -> Any:
        raise ends

    with pytest.raises(type(ends)):
        await collect(Alone(pricing).stream(call, ASKED, broken))
    with pytest.raises(type(ends)):
        await Alone(pricing).unary(call, ASKED, failing)
    expected = 1000 * 1250 + 10 * 10_000 if pays else None
    assert expected == call.outcome.cost_nano_usd
    told = isinstance(ends, StreamCut) and ends.failure
    assert not told or expected == told.cost.cost_nano_usd
    spent = call.outcome.spent
    assert expected == (None if spent is None else spent.cost_nano_usd)


async def test_what_used_nothing_costs_nothing(pricing: Pricing, clock: FakeClock) -> None:
    """A failure without a report of tokens has no cost."""
    call = make_call(clock)

    async def failing(_call: Call, _request: Any) -> Any:
        raise StreamCut("cut")

    with pytest.raises(StreamCut) as failed:
        await Alone(pricing).unary(call, ASKED, failing)
    assert (None, None) == (call.outcome.cost_nano_usd, failed.value.failure)
