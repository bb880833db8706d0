"""No call is given what was sent to another one, and none fails for it.

Covers: upstream/gemini/connection/aiohttp_client/sending.py
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.telemetry.events import ConnectionCondemned
from gemini_backend.upstream.base import EmbedBatch
from tests.support.layers.recorder import Recorder
from tests.support.upstreams.http_clients import open_idle
from tests.upstream.gemini.connection.test_transport import chunk, new_call, talking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.upstream.gemini.client import GeminiUpstream

    Ask = Callable[[GeminiUpstream, int], Awaitable[int]]

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LATE_408 = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
NUMBER = re.compile(rb"number (\d+)")


def whole(body: Any, status: str = "200 OK") -> bytes:
    """Return an answer with a body of JSON."""
    text = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(text)}"
    return head.encode() + b"\r\n\r\n" + text


def answer_to(request: bytes) -> bytes:
    """Return the answer to a request: whatever it asks for, the number in it comes back."""
    found = NUMBER.search(request)
    number = int(found[1]) if found else 0
    candidate = {"content": {"parts": [{"text": str(number)}]}, "finishReason": "STOP"}
    line = request.split(b"\r\n", 1)[0]
    if b":stream" in line:
        event = b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\r\n\r\n"
        return STREAM + chunk(event) + b"0\r\n\r\n"
    if b":generate" in line:
        return whole({"candidates": [candidate]})
    if b":count" in line:
        return whole({"totalTokens": number})
    if b":batchEmbed" in line:
        return whole({"embeddings": [{"values": [float(number)]}]})
    return whole({"models": [{"name": "models/a", "version": "1"}]})


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """Read a request to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    return head + (await reader.readexactly(int(length[1])) if length else b"")


async def execute(upstream: GeminiUpstream, number: int) -> int:
    """Stream an answer."""
    request = pb.ExecuteRequest(prompt=f"number {number}", model="models/m")
    events = [event async for event in upstream.stream(new_call(), request)]
    return int("".join(part.text for event in events for part in event.delta.parts))


async def process(upstream: GeminiUpstream, number: int) -> int:
    """Ask for a whole answer."""
    request = pb.ExecuteRequest(prompt=f"number {number}", model="models/m")
    response = await upstream.process(new_call(), request)
    return int(response.candidates[0].content.parts[0].text)


async def count(upstream: GeminiUpstream, number: int) -> int:
    """Count tokens."""
    request = pb.CountTokensRequest(prompt=f"number {number}", model="models/m")
    return (await upstream.count_tokens(new_call(), request)).total_tokens


async def embed(upstream: GeminiUpstream, number: int) -> int:
    """Embed a text."""
    request = pb.EmbedRequest(model="models/m")
    request.contents.add().parts.add(text=f"number {number}")
    response = await upstream.embed(new_call(), EmbedBatch("models/m", [request]))
    return int(response.embeddings[0].values[0])


async def settled(upstream: GeminiUpstream) -> None:
    """Let the event loop run until no connection is idle in the pool and open."""
    async with asyncio.timeout(5):
        while open_idle(upstream):
            await asyncio.sleep(0)


@pytest.mark.parametrize("ask", [execute, process, count, embed])
@pytest.mark.parametrize("stray", ["the answer again", LATE_408.decode(), "HTTP/1.1 2", "\r\n"])
async def test_what_comes_on_an_idle_connection_is_nobodys(ask: Ask, stray: str) -> None:
    """The next call has a connection of its own and its own answer, in one attempt."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            writer.write(answer_to(request))
            await writer.drain()
            await asyncio.sleep(0.002)  # so that it is a read of its own
            again = answer_to(request) if stray == "the answer again" else stray.encode()
            writer.write(again)

    async with talking(serve) as (upstream, seen):
        for number in range(1, 6):
            assert number == await ask(upstream, number)
            await settled(upstream)
        assert 5 == len(seen)


async def test_the_list_of_models_is_guarded_too() -> None:
    """It shares the connections of all other calls."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            writer.write(answer_to(request) * 2)

    async with talking(serve) as (upstream, seen):
        for number in range(1, 4):
            assert number == await count(upstream, number)
            assert ["a"] == [
                model.name.removeprefix("models/") for model in await upstream.models(5)
            ]
        assert 6 == len(seen)


async def test_a_timeout_that_crosses_the_request_is_not_its_answer() -> None:
    """A 408 on a used connection is for the silence before; a fresh connection takes over."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        writer.write(answer_to(await request_of(reader)))
        await request_of(reader)
        requests += 1
        writer.write(LATE_408)
        await writer.drain()
        await reader.read()

    async with talking(serve) as (upstream, seen):
        call = new_call()
        for number in range(1, 4):
            request = pb.CountTokensRequest(prompt=f"number {number}", model="models/m")
            assert number == (await upstream.count_tokens(call, request)).total_tokens
        assert (2, 3) == (requests, len(seen))
        assert [None] * 3 == [attempt.error for attempt in call.outcome.attempts]


@pytest.mark.parametrize("size", [100_000, 400_000, 3_000_000])
async def test_the_answer_to_a_large_request_is_believed(size: int) -> None:
    """It comes when the request has been sent, however soon after; connections are kept."""
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        while request := await request_of(reader):
            requests += 1
            writer.write(answer_to(request))

    async with talking(serve) as (upstream, seen):
        for number in range(1, 11):
            request = pb.CountTokensRequest(
                prompt=f"number {number} {'x' * size}", model="models/m"
            )
            assert number == (await upstream.count_tokens(new_call(), request)).total_tokens
        assert (1, 10) == (len(seen), requests)


async def test_condemned_connections_are_told_of() -> None:
    """Each once, to whoever wants to know."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            writer.write(answer_to(request) * 3)

    told = Recorder()
    async with talking(serve, bus=told.bus) as (upstream, _):
        for number in range(3):
            await count(upstream, number)
    assert [ConnectionCondemned()] * 3 == told.of(ConnectionCondemned)


@pytest.mark.parametrize("settles", [False, True])
async def test_a_connection_settles_before_it_is_used_again(*, settles: bool) -> None:
    """Until then another one serves; what has settled is used again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            writer.write(answer_to(request))

    async with talking(serve, settle_seconds=0.001 if settles else 1000) as (upstream, seen):
        for number in range(3):
            assert number == await count(upstream, number)
            async with asyncio.timeout(5):
                while settles and not open_idle(upstream):
                    await asyncio.sleep(0.001)
        assert (1 if settles else 3) == len(seen)


async def test_what_has_not_settled_counts_as_in_use() -> None:
    """No more connections are opened than are allowed: the call waits for it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            writer.write(answer_to(request))

    async with talking(serve, settle_seconds=0.005, max_connections=1) as (upstream, seen):
        for number in range(5):
            assert number == await count(upstream, number)
        assert 1 == len(seen)


@pytest.mark.parametrize("sent", [b"", STREAM, STREAM + b"5\r\nab", STREAM[:-9]])
async def test_whoever_leaves_early_takes_the_connection_along(sent: bytes) -> None:
    """Before the head, within it, within a body: what is outstanding reaches nobody."""
    waiting = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            if b":stream" not in request:
                writer.write(answer_to(request))
                continue
            writer.write(sent)
            await writer.drain()
            waiting.set()
            await reader.read()

    async with talking(serve) as (upstream, seen):
        for number in range(1, 4):
            waiting.clear()
            leaving = asyncio.create_task(execute(upstream, 0))
            await waiting.wait()
            await asyncio.sleep(0.002)  # so that it has arrived
            leaving.cancel()
            with suppress(asyncio.CancelledError):
                await leaving
            assert [] == open_idle(upstream)
            assert number == await count(upstream, number)
        assert 4 == len(seen)


async def test_a_reader_who_closes_a_stream_takes_the_connection_along() -> None:
    """As for any other way to leave."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            data = answer_to(request)
            writer.write(data[: -len(b"0\r\n\r\n")] if b":stream" in request else data)

    async with talking(serve) as (upstream, seen):
        request = pb.ExecuteRequest(prompt="number 9", model="models/m")
        async with aclosing(upstream.stream(new_call(), request)) as events:
            await anext(events)
        assert 1 == await count(upstream, 1)
        assert 2 == len(seen)
