"""What goes wrong between the upstream and the model API, each with its own name.

Covers: upstream/gemini/connection/exchange.py,
upstream/gemini/connection/aiohttp_client/exchange.py
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gemini.backend.v1 import content_pb2 as content
from gemini_backend import errors, masking
from gemini_backend.clock import SystemClock
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.upstream.gemini.conftest import KEY, FakeApi
from tests.upstream.gemini.test_client import COUNT, END, REQUEST, collect, data, failure, texts

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from tests.support.clock import FakeClock


async def test_a_cut_connection_is_a_cut_stream(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """What came before is delivered."""

    async def reset(request: web.Request, _: web.StreamResponse) -> None:
        assert request.transport is not None
        request.transport.abort()

    api.streams(data("a"), end=reset)
    error, count = await failure(upstream, call)
    assert (errors.StreamCut, 2) == (type(error), count)
    assert call.outcome.attempts[0].error is error


LAST = b"data: " + json.dumps({**END, "usageMetadata": {"totalTokenCount": 3}}).encode() + b"\n\n"


@pytest.mark.parametrize("half", [b"", b"data: {"])
async def test_a_cut_after_the_end_of_the_answer(
    api: FakeApi, upstream: GeminiUpstream, call: Call, half: bytes
) -> None:
    """Between two events it leaves the answer; in the middle of one more was to come."""

    async def reset(request: web.Request, _: web.StreamResponse) -> None:
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()

    api.streams(data("a"), LAST + half, end=reset)
    if half:
        error, count = await failure(upstream, call)
        assert (errors.StreamCut, 3) == (type(error), count)
        return
    events = await collect(upstream.stream(call, REQUEST))
    assert content.USAGE_QUALITY_ESTIMATED == events[-1].completed.usage.quality


async def test_a_connection_that_stays_open_behind_an_answer_is_closed(
    api: FakeApi, call: Call, clock: FakeClock
) -> None:
    """A model API that ends no body costs the time for silence, and that connection."""
    upstream = GeminiUpstream(
        GeminiOptions(base_url=api.base_url, api_keys=(KEY,), idle_timeout_seconds=10), clock
    )
    api.streams(data("a") + LAST, end=lambda *_: asyncio.sleep(60))
    task = asyncio.ensure_future(collect(upstream.stream(call, REQUEST)))
    while not clock._waits:
        await asyncio.sleep(0.01)
    await clock.advance(9)
    kinds = [event.WhichOneof("event") for event in await task]
    assert ["started", "delta", "delta", "completed"] == kinds
    await asyncio.wait_for(api.gone.wait(), 0.1)
    assert 0 == upstream.connections()
    await upstream.aclose()


async def test_a_clean_end_without_a_finish_is_a_cut_stream(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """An end is not the end."""
    api.streams(data("a"))
    error, count = await failure(upstream, call)
    assert (errors.StreamCut, 2) == (type(error), count)


async def test_an_empty_body_is_an_empty_answer(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """200 and nothing."""
    api.replies(b"", content_type="text/event-stream")
    assert errors.EmptyAnswer is type((await failure(upstream, call))[0])
    with pytest.raises(errors.EmptyAnswer):
        await upstream.process(call, REQUEST)
    with pytest.raises(errors.EmptyAnswer):
        await upstream.count_tokens(call, COUNT)


ERROR = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "tail",
    [
        b"data: " + json.dumps(ERROR).encode() + b"\r\n\r\n",
        json.dumps(ERROR).encode(),
        json.dumps(ERROR, indent=2).encode() + b"\n",
        json.dumps([ERROR], indent=2).encode(),
    ],
)
async def test_an_error_inside_a_stream(
    api: FakeApi, upstream: GeminiUpstream, call: Call, tail: bytes
) -> None:
    """As an event, or as bare JSON, also while the stream stays open."""
    for first, seen in ((b"", 0), (data("a"), 2)):
        api.streams(first + tail)
        error, count = await failure(upstream, call)
        assert (errors.UpstreamUnavailable, seen) == (type(error), count)
        assert "overloaded" in error.message


@pytest.mark.parametrize("body", [json.dumps(ERROR), json.dumps([ERROR])])
async def test_an_error_in_a_body_of_status_200(
    api: FakeApi, upstream: GeminiUpstream, call: Call, body: str
) -> None:
    """A JSON body in place of a stream is read all the same."""
    api.replies(body)
    assert errors.UpstreamUnavailable is type((await failure(upstream, call))[0])


async def test_an_array_in_place_of_an_event_stream(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """What answers without alt=sse is understood."""
    events = [json.loads(piece[6:]) for piece in (data("a"), data("b", finishReason="STOP"))]
    api.replies(json.dumps(events, indent=1))
    assert "ab" == texts(await collect(upstream.stream(call, REQUEST)))


async def test_html_with_status_200_is_malformed(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """A page of some proxy's is not taken for an answer."""
    api.replies("<html><title>Log in</title></html>", content_type="text/html")
    error, _ = await failure(upstream, call)
    assert errors.MalformedAnswer is type(error)
    assert "'Log in'" in error.message
    with pytest.raises(errors.MalformedAnswer):
        await upstream.process(call, REQUEST)


async def test_garbage_is_malformed(api: FakeApi, upstream: GeminiUpstream, call: Call) -> None:
    """Be it in an event, beside one, or in a whole body."""
    whole = data("a", finishReason="STOP")
    for garbage in (
        b"data: {nonsense\r\n\r\n",
        b"\x00\xff nonsense",
        b"data: [1]\r\n\r\n",
        b"nonsense",
        b"\xff\n\xfe" + whole,
        whole + b"\xff\n\xfe" + whole,
    ):
        api.streams(garbage)
        assert errors.MalformedAnswer is type((await failure(upstream, call))[0])
    api.replies(b"nonsense")
    with pytest.raises(errors.MalformedAnswer):
        await upstream.process(call, REQUEST)


async def test_a_refusal_brings_its_body_and_no_key(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """A key that comes back in the words is struck out."""
    masking.remember([KEY])
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    error = {"code": 400, "message": f"API key {KEY} not valid", "details": [info]}
    api.replies(json.dumps({"error": {**error, "status": "INVALID_ARGUMENT"}}), status=400)
    raised, _ = await failure(upstream, call)
    assert errors.KeyRefused is type(raised)
    assert 400 == raised.upstream.http_status
    assert KEY not in repr((raised, raised.message, raised.upstream))


async def test_redirects_are_not_followed(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """The key goes to no other address; the failure names its host alone, and lasts."""

    async def redirect(_: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": "https://u:pw@else.test/path?key=1"})

    api.answer = redirect
    error, _ = await failure(upstream, call)
    assert errors.MalformedAnswer is type(error)
    assert "https://else.test;" in error.message.replace(":", ";", 2).replace("https;", "https:")
    assert not [word for word in ("path", "pw") if word in error.message]
    assert (1, True) == (len(api.requests), error.lasting)


async def test_bodies_and_events_are_bounded(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """The failure names the setting."""
    upstream.options = replace(upstream.options, max_body_bytes=2000, max_event_bytes=2000)
    api.streams(data("a"), data("b" * 5000))
    error, count = await failure(upstream, call)
    assert (errors.AnswerTooLarge, 2) == (type(error), count)
    api.replies(json.dumps({"candidates": [{"content": {"parts": [{"text": "b" * 5000}]}}]}))
    with pytest.raises(errors.AnswerTooLarge, match="max_body_bytes"):
        await upstream.process(call, REQUEST)


async def test_an_address_without_a_server_is_unreachable(call: Call) -> None:
    """Refused connections and unknown names, with the setting to look at."""
    with socket.socket() as held:  # bound, but nobody listens
        held.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{held.getsockname()[1]}"
        for address in (refusing, "http://no-such-host.invalid"):
            upstream = GeminiUpstream(
                GeminiOptions(base_url=address, api_keys=(KEY,)), SystemClock()
            )
            error, _ = await failure(upstream, call)
            await upstream.aclose()
            assert errors.Unreachable is type(error)
            assert address in error.message
            assert "upstream.gemini.base_url" in error.message


async def test_waiting_for_a_connection_is_bounded(api: FakeApi, call: Call) -> None:
    """With all in use, a call waits as for a new connection, and says how many there are."""
    options = GeminiOptions(
        base_url=api.base_url, api_keys=(KEY,), max_connections=1, connect_timeout_seconds=0.05
    )
    upstream = GeminiUpstream(options, SystemClock())
    api.streams(data("a"), end=lambda *_: asyncio.sleep(60))
    async with aclosing(upstream.stream(call, REQUEST)) as events:
        await anext(events)
        error, _ = await failure(upstream, call)
    assert errors.ConnectTimeout is type(error)
    assert "1 other connections in use" in error.message
    await upstream.aclose()
