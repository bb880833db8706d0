"""Connections: stale ones replaced, slow readers felt, nothing left behind.

Covers: upstream/gemini/connection/connect_errors.py,
upstream/gemini/connection/aiohttp_client/failures.py, upstream/gemini/connection/transports.py,
upstream/gemini/connection/http1/no_answer.py
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend import errors
from gemini_backend.call import Call
from gemini_backend.clock import SystemClock
from gemini_backend.telemetry.events import SILENT
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.support.upstreams.http_clients import in_use, waiting_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gemini_backend.telemetry.events import Publisher

    Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

REQUEST = pb.ExecuteRequest(prompt="hi", model="models/m")
COUNT = pb.CountTokensRequest(prompt="hi", model="models/m")
REPLY = b'{"totalTokens": 1}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def reply(*, close: bool = False) -> bytes:
    """Return a whole answer."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    head += "Connection: close\r\n" if close else ""
    return f"{head}Content-Length: {len(REPLY)}\r\n\r\n".encode() + REPLY


def chunk(data: bytes) -> bytes:
    """Return a chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


async def read_request(reader: asyncio.StreamReader) -> None:
    """Read a request to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    await reader.readexactly(length)


@asynccontextmanager
async def talking(
    talk: Talk, *, bus: Publisher = SILENT, **options: Any
) -> AsyncIterator[tuple[GeminiUpstream, list[int]]]:
    """Run a server of bare sockets; yield an upstream that calls it, and a list of connections.

    Connections are used again at once unless `options`, those of the upstream, say otherwise.
    `tell` is told of what changes.
    """
    seen: list[int] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(len(seen))
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    given = {"base_url": f"http://127.0.0.1:{port}", "settle_seconds": 0.0, **options}
    upstream = GeminiUpstream(GeminiOptions(api_keys=("k",), **given), SystemClock(), bus=bus)
    try:
        yield upstream, seen
    finally:
        await upstream.aclose()
        server.close()
        await asyncio.sleep(0)


def new_call() -> Call:
    """Return a call without a deadline."""
    return Call(method="/test", execution="e", arrived=0.0)


async def test_a_stale_connection_is_replaced_once() -> None:
    """Closed between two calls without a byte of an answer: a fresh one serves, as one attempt."""
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await read_request(reader)
        served += 1
        writer.write(reply())
        await read_request(reader)  # takes the next request, and goes away

    async with talking(once) as (upstream, seen):
        call = new_call()
        for _ in range(3):
            assert 1 == (await upstream.count_tokens(call, COUNT)).total_tokens
        assert (3, 3) == (served, len(seen))
        assert [None] * 3 == [attempt.error for attempt in call.outcome.attempts]


async def test_a_fresh_connection_that_closes_is_not_tried_again() -> None:
    """That is a failure of the model API's, for the layers outside to judge."""

    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with talking(hang_up) as (upstream, seen):
        with pytest.raises(errors.Unreachable):
            await upstream.count_tokens(new_call(), COUNT)
        assert 1 == len(seen)


async def test_a_byte_of_an_answer_forbids_another_try() -> None:
    """The request may have been carried out."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(reply())
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-")
        await writer.drain()
        await asyncio.sleep(0.02)

    async with talking(half) as (upstream, seen):
        await upstream.count_tokens(new_call(), COUNT)
        with pytest.raises(errors.Unreachable):
            await upstream.count_tokens(new_call(), COUNT)
        assert 1 == len(seen)


async def test_what_is_not_http_is_malformed() -> None:
    """Said of the address, without repeating what came."""

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"220 mail.test ESMTP\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)

    async with talking(other) as (upstream, _):
        with pytest.raises(errors.MalformedAnswer, match="base_url") as raised:
            await upstream.count_tokens(new_call(), COUNT)
        assert "ESMTP" not in raised.value.message


async def test_events_cut_anywhere_arrive_whole() -> None:
    """Byte by byte, within characters and line ends."""
    candidate = {"content": {"parts": [{"text": "née 🌊"}]}, "finishReason": "STOP"}
    event = json.dumps({"candidates": [candidate]}, ensure_ascii=False).encode()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.write(HEAD)
        for byte in b"data: " + event + b"\r\n\r\n":
            writer.write(chunk(bytes([byte])))
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with talking(drip) as (upstream, _):
        events = [event async for event in upstream.stream(new_call(), REQUEST)]
        assert "née 🌊" == events[1].delta.parts[0].text


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_slow_reader_slows_the_model_api_down(*, chunked: bool) -> None:
    """However much it would send, a bounded piece of it waits on our side."""
    candidate = {"content": {"parts": [{"text": "x" * 10_000}]}}
    event = b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\r\n\r\n"
    head = HEAD if chunked else PLAIN_HEAD
    event = chunk(event) if chunked else event
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_request(reader)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        writer.transport.set_write_buffer_limits(high=64 * 1024)
        writer.write(head)
        while sent < 200_000_000:
            writer.write(event)
            sent += len(event)
            await writer.drain()

    async with (
        talking(flood) as (upstream, _),
        aclosing(upstream.stream(new_call(), REQUEST)) as events,
    ):
        await anext(events)
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.1)
        assert waiting_bytes(upstream) < 600_000
        assert sent < 20_000_000  # the kernel's own buffers included


async def test_a_stuck_upload_is_given_up_at_once() -> None:
    """A request that nobody reads does not hold its connection after the call was cancelled."""
    began, cancelled, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
    read = 0

    async def deaf(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal read
        await reader.readuntil(b"\r\n\r\n")
        began.set()
        await cancelled.wait()  # the reader's own bound keeps the rest in the kernel and beyond
        try:
            while piece := await reader.read(1 << 20):
                read += len(piece)
        except ConnectionError:
            pass
        gone.set()

    async with talking(deaf) as (upstream, _):
        large = pb.CountTokensRequest(prompt="x" * 40_000_000, model="models/m")
        task = asyncio.create_task(upstream.count_tokens(new_call(), large))
        await began.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        cancelled.set()
        await asyncio.wait_for(gone.wait(), 1)
        assert read < 30_000_000
        assert 0 == upstream.connections()


async def test_many_cancelled_streams_leave_nothing_behind() -> None:
    """No task, no connection."""

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(
            HEAD + chunk(b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}]}\n\n')
        )
        await reader.read()

    async with talking(slow) as (upstream, _):

        async def leave() -> None:
            async with aclosing(upstream.stream(new_call(), REQUEST)) as events:
                await anext(events)

        before = len(asyncio.all_tasks())
        for _ in range(20):
            await asyncio.gather(*(leave() for _ in range(20)))
        await asyncio.sleep(0.05)
        assert 0 == upstream.connections()
        assert len(asyncio.all_tasks()) <= before + 1
        assert [] == in_use(upstream)


async def test_headers_that_are_no_text_harm_no_answer() -> None:
    """What the contract can carry of them arrives, in answers and in failures."""
    heads = iter([b"200 OK\r\nX-Gemini-Service-Tier: gold\xff", b"413 No\r\nContent-Type: a/\xff"])

    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for head in heads:
            await read_request(reader)
            candidate = b'{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}'
            event = b'data: {"candidates": [' + candidate + b"]}\r\n\r\n"
            writer.write(b"HTTP/1.1 " + head + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
            writer.write(chunk(event) + b"0\r\n\r\n")

    async with talking(odd) as (upstream, _):
        events = [event async for event in upstream.stream(new_call(), REQUEST)]
        assert "gold\N{REPLACEMENT CHARACTER}" == events[-1].completed.served_service_tier_raw
        with pytest.raises(errors.RefusedByModelApi, match="a/\N{REPLACEMENT CHARACTER}"):
            async for _event in upstream.stream(new_call(), REQUEST):
                pass


async def test_a_change_of_protocol_ends_the_connection() -> None:
    """Nobody asked for it; what comes behind it is no answer to anybody."""

    async def switching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        assert b"" == await reader.read()
        writer.close()

    async with talking(switching) as (upstream, seen):
        for _ in range(2):
            with pytest.raises(errors.UpstreamUnavailable, match="HTTP 101"):
                await upstream.count_tokens(new_call(), COUNT)
        assert 2 == len(seen)
