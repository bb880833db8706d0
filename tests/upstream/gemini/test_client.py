"""The upstream against a model API on a real socket.

Covers: upstream/gemini/keys.py, upstream/gemini/options.py
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import web

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend import errors
from gemini_backend.call import FixedBudget
from gemini_backend.clock import SystemClock
from gemini_backend.config import Secret
from gemini_backend.policies.attempts.key_pool import KeyPool
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.keys import known_keys
from gemini_backend.upstream.gemini.options import GeminiOptions
from gemini_backend.upstream.keys import KeySet, KeySource, KnownKey
from tests.upstream.gemini.conftest import KEY, FakeApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call

REQUEST = pb.ExecuteRequest(prompt="hi", model="models/m")
COUNT = pb.CountTokensRequest(prompt="hi", model="models/m")
END = {"candidates": [{"finishReason": "STOP"}]}


def data(text: str, **more: Any) -> bytes:
    """Return an event with a piece of text."""
    candidate = {"content": {"parts": [{"text": text}], "role": "model"}, **more}
    return b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\r\n\r\n"


async def collect(stream: AsyncIterator[pb.ExecuteResponse]) -> list[pb.ExecuteResponse]:
    """Return all events of a stream, which is closed whatever happens."""
    async with aclosing(stream) as events:  # type: ignore[type-var] # it can be closed
        return [event async for event in events]


async def failure(upstream: GeminiUpstream, call: Call, request: Any = REQUEST) -> Any:
    """Return what a stream fails with, and how many events had come."""
    count = 0
    try:
        async for _ in upstream.stream(call, request):
            count += 1
    except errors.ServiceError as error:
        return error, count
    pytest.fail("it did not fail")


def texts(events: list[pb.ExecuteResponse]) -> str:
    """Return all text."""
    return "".join(part.text for event in events for part in event.delta.parts)


async def test_a_stream(api: FakeApi, upstream: GeminiUpstream, call: Call) -> None:
    """The request goes where it should, the key in a header only; the answer comes as events."""
    api.streams(data("a"), data("b", finishReason="STOP"))
    call = msgspec.structs.replace(call, budget=FixedBudget(SystemClock().now() + 30.5))
    events = await collect(upstream.stream(call, REQUEST))
    assert ["started", "delta", "delta", "completed"] == [e.WhichOneof("event") for e in events]
    (request,) = api.requests
    assert "/v1beta/models/m:streamGenerateContent?alt=sse" == request.path_qs
    assert KEY == request.headers["x-goog-api-key"]
    assert "identity" == request.headers["Accept-Encoding"]
    assert "30" == request.headers["X-Server-Timeout"]
    assert KEY not in str(request.url)
    (attempt,) = call.outcome.attempts
    assert ("models/m", None, False) == (attempt.model, attempt.error, attempt.cancelled)
    assert attempt.ended is not None
    assert 0 == upstream.connections()


async def test_a_stream_that_nobody_reads_to_its_end_has_used_something(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """The attempt knows what all its events have reported, not only the last one."""
    usage = {"promptTokenCount": 7, "candidatesTokenCount": 5, "totalTokenCount": 12}
    candidate = {"content": {"parts": [{"text": "a"}], "role": "model"}}
    counted = json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()

    async def wait(_request: Any, _response: Any) -> None:
        await asyncio.Event().wait()

    api.streams(b"data: " + counted + b"\r\n\r\n", data("b"), end=wait)
    async with aclosing(upstream.stream(call, REQUEST)) as events:
        async for event in events:
            if "b" in [part.text for part in event.delta.parts]:
                break
    (attempt,) = call.outcome.attempts
    assert attempt.used is not None
    used = attempt.used()
    assert used is not None
    assert (7, 5, 12, content.USAGE_QUALITY_ESTIMATED) == (
        used.prompt_token_count,
        used.candidates_token_count,
        used.total_token_count,
        used.quality,
    )


async def test_whole_answers_and_counts(api: FakeApi, upstream: GeminiUpstream, call: Call) -> None:
    """Process and CountTokens ask their own methods."""
    api.replies(json.dumps({"candidates": [{"content": {"parts": [{"text": "a"}]}}]}))
    response = await upstream.process(call, REQUEST)
    assert "a" == response.candidates[0].content.parts[0].text
    api.replies('{"totalTokens": 7}')
    counted = await upstream.count_tokens(call, COUNT)
    assert (7, "models/m") == (counted.total_tokens, counted.model)
    assert ["generateContent", "countTokens"] == [r.path.rpartition(":")[2] for r in api.requests]
    assert "X-Server-Timeout" not in api.requests[0].headers


async def test_rounded_numbers_are_told_of(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """Both ways say in `started` which numbers of the request may not be what was meant."""
    request = pb.ExecuteRequest(prompt="hi", model="models/m")
    request.extra.update({"number": 2**60})
    api.streams(data("a", finishReason="STOP"))
    events = await collect(upstream.stream(call, request))
    api.replies(json.dumps({"candidates": [{"content": {"parts": [{"text": "a"}]}}]}))
    response = await upstream.process(call, request)
    for started in (events[0].started, response.started):
        assert ["NUMBER_ROUNDED"] == [warning.code for warning in started.warnings]
    assert [b'"number":1152921504606846976'] * 2 == [
        body[body.index(b'"number"') : -1] for body in api.bodies
    ]


async def test_connections_are_kept_and_used_again(api: FakeApi, call: Call) -> None:
    """Answers read to the end leave their connection for the next call."""
    options = GeminiOptions(base_url=api.base_url, api_keys=(KEY,), settle_seconds=0)
    upstream = GeminiUpstream(options, SystemClock())
    api.streams(data("a", finishReason="STOP"))
    for _ in range(3):
        await collect(upstream.stream(call, REQUEST))
    peers = {
        request.transport.get_extra_info("peername")
        for request in api.requests
        if request.transport
    }
    assert len(peers) <= 1
    await upstream.aclose()


async def test_connections_need_not_be_kept(api: FakeApi, call: Call) -> None:
    """With no time to keep them, each call has its own."""
    options = GeminiOptions(base_url=api.base_url, api_keys=(KEY,), keepalive_seconds=0)
    upstream = GeminiUpstream(options, SystemClock())
    api.replies('{"totalTokens": 7}')
    for _ in range(2):
        await upstream.count_tokens(call, COUNT)
    assert ["close"] * 2 == [request.headers.get("Connection") for request in api.requests]
    await upstream.aclose()


async def test_keys_take_turns(api: FakeApi, call: Call) -> None:
    """Each attempt says which key it used, by the beginning of its digest."""
    upstream = GeminiUpstream(
        GeminiOptions(base_url=api.base_url, api_keys=("k0", "k1")), SystemClock()
    )
    api.streams(data("a", finishReason="STOP"))
    for _ in range(3):
        await collect(upstream.stream(call, REQUEST))
    assert ["k0", "k1", "k0"] == [r.headers["x-goog-api-key"] for r in api.requests]
    first, second = (one.key for one in known_keys(("k0", "k1")))
    ids = [first.key_id, second.key_id, first.key_id]
    assert ids == [attempt.key_id for attempt in call.outcome.attempts]
    assert "k0" not in repr(upstream.options)
    await upstream.aclose()


async def test_without_a_key_nothing_is_sent(api: FakeApi, call: Call) -> None:
    """The failure says which setting is missing."""
    upstream = GeminiUpstream(GeminiOptions(base_url=api.base_url), SystemClock())
    error, _ = await failure(upstream, call)
    assert errors.NoUpstreamKey is type(error)
    assert [] == api.requests == call.outcome.attempts


async def test_options_change_from_the_next_call_on(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """Merging is read anew for each call."""
    api.streams(data("a") + data("b", finishReason="STOP"))
    assert 4 == len(await collect(upstream.stream(call, REQUEST)))
    upstream.options = replace(upstream.options, merge_deltas=True)
    assert 3 == len(await collect(upstream.stream(call, REQUEST)))


async def test_leaving_a_stream_closes_its_connection_at_once(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """Within 100 ms the model API knows, and the connection is not used again."""
    api.streams(data("a"), end=lambda *_: asyncio.sleep(60))
    async with aclosing(upstream.stream(call, REQUEST)) as events:
        assert await anext(events)
        assert await anext(events)
        assert 1 == upstream.connections()
    await asyncio.wait_for(api.gone.wait(), 0.1)
    assert 0 == upstream.connections()
    assert call.outcome.attempts[0].cancelled


@pytest.mark.parametrize("began", [True, False])
async def test_a_cancelled_call_closes_its_connection_at_once(
    api: FakeApi, upstream: GeminiUpstream, call: Call, *, began: bool
) -> None:
    """Be it before or after the head of the answer."""
    reached = asyncio.Event()

    async def wait(*_: Any) -> None:
        reached.set()
        await asyncio.sleep(60)

    if began:
        api.streams(data("a"), end=wait)
    else:
        api.answer = wait  # type: ignore[assignment]
    task = asyncio.create_task(collect(upstream.stream(call, REQUEST)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(api.gone.wait(), 0.1)
    assert (0, True) == (upstream.connections(), call.outcome.attempts[0].cancelled)


async def test_a_wait_that_is_cancelled_loses_nothing(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """Another task reads on where the first one was cancelled, on the same connection."""
    gate = asyncio.Event()

    async def more(_request: Any, response: web.StreamResponse) -> None:
        await gate.wait()
        await response.write(data("b", finishReason="STOP"))

    api.streams(data("a"), end=more)
    stream = upstream.stream(call, REQUEST)
    events = [await anext(stream), await anext(stream)]
    for _ in range(3):
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait((task,))
    gate.set()
    assert "ab" == texts(events + await collect(stream))
    assert (1, False) == (len(call.outcome.attempts), call.outcome.attempts[0].cancelled)


async def test_no_cookie_is_kept(api: FakeApi, upstream: GeminiUpstream, call: Call) -> None:
    """Calls have nothing to do with each other."""

    async def cookie(_: web.Request) -> web.StreamResponse:
        response = web.json_response({"totalTokens": 1})
        response.set_cookie("a", "b")
        return response

    api.answer = cookie
    for _ in range(2):
        await upstream.count_tokens(call, COUNT)
    assert [{}, {}] == [dict(request.cookies) for request in api.requests]


async def test_models_are_read_page_by_page(api: FakeApi, upstream: GeminiUpstream) -> None:
    """All pages, fields that fit typed, the rest kept."""
    pages = {
        None: {
            "models": [
                {
                    "name": "models/a",
                    "inputTokenLimit": 5,
                    "supportedGenerationMethods": ["countTokens"],
                    "topK": "many",
                    "new": 1,
                },
                {"displayName": "nameless"},
            ],
            "nextPageToken": "t&1",
        },
        "t&1": {"models": [{"name": "models/b", "temperature": 1}]},
    }

    async def page(request: web.Request) -> web.StreamResponse:
        assert "1000" == request.query["pageSize"]
        response = web.json_response(pages[request.query.get("pageToken")])
        response.enable_compression()
        return response

    api.answer = page
    first, second = await upstream.models(5)
    assert ("models/a", 5, ("countTokens",)) == (
        first.name,
        first.input_token_limit,
        first.supported_methods,
    )
    assert {"topK": "many", "new": 1} == first.extra
    assert ("models/b", 1.0) == (second.name, second.temperature)
    assert 0 == upstream.connections()


async def test_a_list_of_models_without_end_is_malformed(
    api: FakeApi, upstream: GeminiUpstream
) -> None:
    """A token that comes back, or too many pages."""
    api.replies('{"models": [], "nextPageToken": "again"}')
    with pytest.raises(errors.MalformedAnswer):
        await upstream.models(5)


async def test_a_slow_list_of_models_times_out(api: FakeApi, upstream: GeminiUpstream) -> None:
    """Within the time that was given."""
    api.answer = lambda _: asyncio.sleep(60)  # type: ignore[assignment,return-value]
    with pytest.raises(errors.UpstreamTimedOut):
        await upstream.models(0.05)
    assert 0 == upstream.connections()


async def test_a_pool_that_is_empty_at_first_is_used(api: FakeApi, call: Call) -> None:
    """Keys that come later are taken from it, and each attempt's end is noted there."""
    keys = KeySet()
    pool = KeyPool((), SystemClock(), lambda: 300.0)
    keys.subscribe(pool.replace)
    options = GeminiOptions(base_url=api.base_url)
    upstream = GeminiUpstream(options, SystemClock(), key_pool=pool, keys=keys)
    keys.put(KeySource.STORE, [KnownKey(Secret("k0"), KeySource.STORE)])
    api.streams(data("a", finishReason="STOP"))
    await collect(upstream.stream(call, REQUEST))
    assert (["k0"], 1) == (
        [r.headers["x-goog-api-key"] for r in api.requests],
        pool.states()[0].succeeded,
    )
    await upstream.aclose()
