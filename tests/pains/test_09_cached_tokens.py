"""Row 9: cached tokens were billed twice, four times too much."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini_backend.models.catalogue import load
from tests.support.layers.inproc import collect
from tests.support.servers.conversations import answering
from tests.support.servers.process import serving, upstream_at

SHARES = {"standard": 100, "batch": 50, "flex": 50, "priority": 180}
CACHED, FRESH, TOO_MANY = 190_000, 9_999, 300_001
# With their own hands: dollars for a million of input and of cached input, below and above a size.
PRICED = {
    "gemini-3.8-flash": (750, 75, 750, 75),
    "gemini-3.5-flash": (1500, 150, 1500, 150),
    "gemini-3.5-flash-lite": (300, 30, 300, 30),
    "gemini-3.1-flash-lite": (250, 25, 250, 25),
    "gemini-3.1-pro-preview": (2000, 200, 4000, 400),
    "gemini-3-flash-preview": (500, 50, 500, 50),
    "gemini-2.5-pro": (1250, 125, 2500, 250),
    "gemini-2.5-flash": (300, 30, 300, 30),
    "gemini-2.5-flash-lite": (100, 10, 100, 10),
}


@pytest.mark.parametrize("whole", [False, True])
async def test_pain_09_cached_tokens_are_billed_once(whole: bool) -> None:
    """For each model, tier and size of prompt: what is cached is no fresh input as well."""
    async with (
        answering() as api,
        serving(upstream_at(api.url, GEMINI_BACKEND_MODELS__GONE="send")) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub: Any = rpc.ExecuteServiceStub(channel)
        for model, (fresh, cached, fresh_large, cached_large) in PRICED.items():
            for tier, share in SHARES.items():
                for prompt in (CACHED + FRESH, TOO_MANY):
                    large = prompt == TOO_MANY
                    api.version = model
                    api.usage = {
                        "promptTokenCount": prompt,
                        "cachedContentTokenCount": CACHED,
                        "totalTokenCount": prompt,
                        "serviceTier": tier,
                    }
                    cost = await cost_of(stub, model, whole=whole)
                    rates = (fresh_large, cached_large) if large else (fresh, cached)
                    expected = (
                        -(-(prompt - CACHED) * rates[0] * share // 100),
                        -(-CACHED * rates[1] * share // 100),
                    )
                    told = (cost.input_nano_usd, cost.cached_input_nano_usd)
                    assert expected == told, (model, tier, prompt)
                    assert sum(expected) == cost.cost_nano_usd


def test_pain_09_every_model_with_a_cache_has_a_rate_for_it() -> None:
    """None is billed for cached tokens as if they were fresh, for want of a rate."""
    for entry in load():
        if "context_caching" in entry.capabilities:
            assert entry.prices
            assert all(price.cached_input is not None for price in entry.prices), entry.name
            assert all((price.cached_input or 0) < price.input for price in entry.prices)


async def cost_of(stub: Any, model: str, *, whole: bool) -> Any:
    """Ask, and return what it cost."""
    if whole:
        return (await stub.Process(pb.ProcessRequest(prompt="x", model=model))).cost
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="x", model=model)))
    return events[-1].completed.cost
