"""The terms at which Gemini served, and the accounts that it limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.clock import SystemClock
from gemini_backend.errors import AccountLimited
from gemini_backend.policies.attempts.key_pool import KeyPool, KeyState
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.keys import known_keys
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.support.layers.inproc import collect
from tests.upstream.gemini.conftest import KEY, FakeApi
from tests.upstream.gemini.test_client import REQUEST, data

if TYPE_CHECKING:
    from gemini_backend.call import Call


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("flex", (content.SERVICE_TIER_FLEX, "")),
        ("Priority", (content.SERVICE_TIER_PRIORITY, "")),
        ("overnight", (content.SERVICE_TIER_UNSPECIFIED, "overnight")),
    ],
)
async def test_the_tier_of_the_header_is_told(
    api: FakeApi, call: Call, upstream: GeminiUpstream, word: str, told: tuple[int, str]
) -> None:
    """It stands in `started` and in `completed`; a word without a value in the raw twin."""
    api.streams(data("a", finishReason="STOP"), headers={"x-gemini-service-tier": word})
    events = await collect(upstream.stream(call, REQUEST))
    for said in (events[0].started, events[-1].completed):
        assert told == (said.served_service_tier, said.served_service_tier_raw)


async def test_without_the_header_no_tier_is_told(
    api: FakeApi, call: Call, upstream: GeminiUpstream
) -> None:
    """What Gemini does not say is not made up."""
    api.streams(data("a", finishReason="STOP"))
    events = await collect(upstream.stream(call, REQUEST))
    assert content.SERVICE_TIER_UNSPECIFIED == events[-1].completed.served_service_tier


@pytest.mark.parametrize("text", ["", "half an answer"])
async def test_the_key_of_a_limited_account_is_set_aside(
    api: FakeApi, call: Call, text: str
) -> None:
    """With and without text: the next call takes another key; without text it is a failure."""
    keys = [one.key for one in known_keys((KEY, "other"))]
    key_pool = KeyPool(keys, SystemClock(), lambda: 300.0)
    options = GeminiOptions(base_url=api.base_url, api_keys=(KEY, "other"))
    upstream = GeminiUpstream(options, SystemClock(), key_pool=key_pool)
    api.streams(data(text, finishReason="PUP_LIMITED_DISABLED"))
    if text:
        events = await collect(upstream.stream(call, REQUEST))
        reason = content.FINISH_REASON_PUP_LIMITED_DISABLED
        assert reason == events[-1].completed.finish_reason
    else:
        with pytest.raises(AccountLimited):
            await collect(upstream.stream(call, REQUEST))
    assert [KeyState.INVALID, KeyState.UNKNOWN] == [status.state for status in key_pool.states()]
    await upstream.aclose()
