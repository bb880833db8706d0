"""Answers that are larger than a client with gRPC's own limit takes in one message.

Covers: sizes.py
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini_backend_client import AsyncClient
from tests.support.layers.inproc import collect
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.support.upstreams.raw_upstreams import listening

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.asyncio(loop_scope="module")

PICTURE = bytes(range(256)) * 24 * 1024  # 6 MiB
TEXT = "ä" * 2_500_000


def answer(part: dict[str, Any]) -> bytes:
    """Return one event that is the whole answer."""
    candidate = {"content": {"parts": [part], "role": "model"}, "finishReason": "STOP"}
    return b"data: " + json.dumps({"candidates": [candidate]}).encode() + b"\r\n\r\n"


def always(body: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Return an upstream that answers every request with this event stream."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + body)
        await writer.drain()
        writer.close()

    return serve


async def pieces(
    body: bytes, request: pb.ExecuteRequest
) -> AsyncIterator[list[pb.ExecuteResponse]]:
    """Yield the events that a client with gRPC's defaults gets."""
    async with (
        listening(always(body)) as url,
        serving(upstream_at(url, **AS_IT_COMES)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield await collect(rpc.ExecuteServiceStub(channel).Execute(request))


async def test_a_picture_of_six_mebibytes_reaches_a_client_with_defaults() -> None:
    """It comes in chunks of at most `execution.max_event_bytes`, to the byte."""
    blob = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PICTURE).decode()}}
    async for events in pieces(answer(blob), pb.ExecuteRequest(prompt="draw")):
        chunks = [part.blob_chunk for event in events for part in event.delta.parts]
        assert b"".join(chunk.data for chunk in chunks) == PICTURE
        assert [False, True] == [chunk.last for chunk in chunks]
        assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
        assert max(event.ByteSize() for event in events) <= 4_000_000


async def test_five_megabytes_of_text_reach_a_client_with_defaults() -> None:
    """A text comes in several deltas that join to it."""
    async for events in pieces(answer({"text": TEXT}), pb.ExecuteRequest(prompt="write")):
        parts = [part for event in events for part in event.delta.parts]
        assert "".join(part.text for part in parts) == TEXT
        assert len(parts) > 1


async def test_the_caller_says_how_large_an_event_may_be() -> None:
    """`max_event_bytes` holds for one request."""
    request = pb.ExecuteRequest(prompt="write", max_event_bytes=100_000)
    async for events in pieces(answer({"text": TEXT}), request):
        assert max(event.ByteSize() for event in events) <= 100_000


async def test_the_python_client_puts_a_blob_together() -> None:
    """Its answer has the picture as one part, as Gemini gave it."""
    blob = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(PICTURE).decode()}}
    async with (
        listening(always(answer(blob))) as url,
        serving(upstream_at(url, **AS_IT_COMES)) as server,
        AsyncClient(server.grpc) as client,
    ):
        found = await client.execute("draw").result()
    (part,) = found.response.candidates[0].content.parts
    assert ("image/png", PICTURE) == (part.inline_data.mime_type, part.inline_data.data)
