"""What is aiohttp's own: the names of its connector's that are not public mean what they did.

Covers: upstream/gemini/connection/aiohttp_client/pool.py
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from gemini_backend.upstream.gemini import client
from gemini_backend.upstream.gemini.connection.aiohttp_client import AiohttpTransport
from gemini_backend.upstream.gemini.connection.aiohttp_client.lease import Lease
from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap
from tests.support.upstreams.http_clients import open_idle
from tests.upstream.gemini.connection.test_desync import (
    STREAM,
    answer_to,
    count,
    execute,
    request_of,
)
from tests.upstream.gemini.connection.test_stream_tap import EVENT
from tests.upstream.gemini.connection.test_transport import (
    HEAD,
    PLAIN_HEAD,
    REQUEST,
    chunk,
    new_call,
    talking,
)


@pytest.fixture(autouse=True)
def over_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use aiohttp."""
    monkeypatch.setattr(client, "transport_of", AiohttpTransport)


async def test_a_fresh_connection_takes_the_place_of_an_idle_one() -> None:
    """Where there is room for no more."""
    streaming = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await request_of(reader):
            if b":stream" in request:
                writer.write(STREAM + chunk(b": one moment\n\n"))
                streaming.set()
                await reader.read()
            writer.write(answer_to(request))

    async with talking(serve, max_connections=2) as (upstream, seen):
        running = asyncio.create_task(execute(upstream, 1))
        await streaming.wait()
        assert 2 == await count(upstream, 2)
        (before,) = open_idle(upstream)
        transport: Any = upstream._transport
        url = upstream._address("models/m", "countTokens")
        response = await transport._ask(
            "POST",
            url,
            Lease(fresh=True),
            headers={},
            body=b"number 3",
            limits=transport._timeout(5),
        )
        response.close()
        assert (3, True) == (len(seen), before.is_closing())
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("head", [HEAD, PLAIN_HEAD])
async def test_all_streams_are_tapped_and_read(head: bytes) -> None:
    """The tap is in effect where it should be: an aiohttp that changes is noticed here."""
    chunked = head is HEAD
    body = chunk(EVENT) + b"0\r\n\r\n" if chunked else EVENT

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            await reader.readuntil(b"}]}]}")
            for byte in head + body:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            if not chunked:
                writer.close()
                return

    async with talking(serve) as (upstream, seen):
        transport: Any = upstream._transport
        for _ in range(3):
            tapped = []
            async for event in upstream.stream(new_call(), REQUEST):
                tapped += [isinstance(exchange._tap, StreamTap) for exchange in transport._open]
                last = event
            assert last.HasField("completed")
            assert {True} == set(tapped)
        assert (1 if chunked else 3) == len(seen)
