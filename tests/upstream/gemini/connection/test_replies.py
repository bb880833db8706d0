"""Which replies are answers, by their head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gemini_backend import errors
from tests.upstream.gemini.test_client import COUNT, REQUEST, collect

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.upstream.gemini.client import GeminiUpstream
    from tests.upstream.gemini.conftest import FakeApi


@pytest.mark.parametrize("status", [200, 201, 202, 203, 226])
async def test_any_success_with_an_answer_in_it_is_one(
    api: FakeApi, upstream: GeminiUpstream, call: Call, status: int
) -> None:
    """Gateways are not all particular about which success it is."""
    api.replies('{"totalTokens": 7}', status=status)
    assert 7 == (await upstream.count_tokens(call, COUNT)).total_tokens


@pytest.mark.parametrize("status", [204, 205])
async def test_a_success_without_content_is_an_empty_answer(
    api: FakeApi, upstream: GeminiUpstream, call: Call, status: int
) -> None:
    """Another try may bring one."""
    api.replies(status=status)
    with pytest.raises(errors.EmptyAnswer) as raised:
        await upstream.count_tokens(call, COUNT)
    assert errors.UpstreamReply(http_status=status) == raised.value.upstream
    assert (True, False) == (raised.value.retryable, raised.value.lasting)


async def test_a_part_of_an_answer_is_none(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """However well it reads."""
    api.replies('{"totalTokens": 7}', status=206)
    with pytest.raises(errors.MalformedAnswer, match="206"):
        await upstream.count_tokens(call, COUNT)


async def test_headers_beyond_the_bound_are_too_large(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """Typed, and not tried again; below the bound they do no harm."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"totalTokens": 7}, headers={"X-Policy": "x" * size})

    api.answer = answer
    size = 200_000
    assert 7 == (await upstream.count_tokens(call, COUNT)).total_tokens
    size = 300_000
    with pytest.raises(errors.AnswerTooLarge, match="headers"):
        await upstream.count_tokens(call, COUNT)


@pytest.mark.parametrize("depth", [2_000, 100_000])
async def test_an_answer_too_deep_for_any_reader_lasts(
    api: FakeApi, upstream: GeminiUpstream, call: Call, depth: int
) -> None:
    """It is malformed, and would be again: nobody pays for a second one."""
    deep = '{"a":' * depth + "1" + "}" * depth
    part = '{"functionCall": {"name": "f", "args": ' + deep + "}}"
    body = '{"candidates": [{"content": {"parts": [' + part + "]}}]}"
    api.replies(body)
    with pytest.raises(errors.MalformedAnswer) as raised:
        await upstream.process(call, REQUEST)
    assert raised.value.lasting
    api.streams(b"data: " + body.encode() + b"\r\n\r\n")
    with pytest.raises(errors.MalformedAnswer) as raised:
        await collect(upstream.stream(call, REQUEST))
    assert raised.value.lasting
