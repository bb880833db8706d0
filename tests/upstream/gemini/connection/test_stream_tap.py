"""The way of an event stream past aiohttp's own machinery."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend import errors
from gemini_backend.errors import StreamCut
from gemini_backend.upstream.gemini.connection.framing import Chunked, Sized, UntilClosed
from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap
from tests.upstream.gemini.connection.test_transport import (
    HEAD,
    chunk,
    new_call,
    talking,
)

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.framing import Framing

REQUEST = pb.ExecuteRequest(prompt="hi", model="models/m")
CANDIDATE = {"content": {"parts": [{"text": "née"}]}, "finishReason": "STOP"}
EVENT = b"data: " + json.dumps({"candidates": [CANDIDATE]}).encode() + b"\r\n\r\n"


class FakeTransport:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        """Begin reading."""
        self.reading = True
        self.aborted = False

    def pause_reading(self) -> None:
        """Stop."""
        self.reading = False

    def resume_reading(self) -> None:
        """Go on."""
        self.reading = True

    def abort(self) -> None:
        """Close."""
        self.aborted = True


async def become(reads: list[bytes]) -> tuple[str, bytes]:
    """Return what becomes of a body of these reads, and all of it that could be read."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, Chunked())
    for read in reads:
        if not tap.ended:
            tap.feed(read)
    if not tap.ended:
        assert not transport.aborted
        tap.lost(None)  # so that a reader of what has come so far is not kept waiting
        return "waited", await read_of(tap)
    body = await read_of(tap)
    assert transport.aborted == (not tap.drained)
    return "broken" if transport.aborted else "ended", body


async def read_of(tap: StreamTap) -> bytes:
    """Return what can be read of a body, whole or not."""
    body = b""
    with suppress(StreamCut):
        while data := await tap.read():
            body += data
    return body


@given(
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"3\r\nabc\r\n", b"a;x=y\r\n01", b"\r\n", b"0\r\n\r\n"]),
        max_size=8,
    )
)
def test_garbage_ends_the_connection_or_waits(reads: list[bytes]) -> None:
    """Nothing that comes is a defect of ours, and it does not matter in which reads it comes."""
    became, body = asyncio.run(become(reads))
    assert (became, body) == asyncio.run(become([b"".join(reads)]))
    assert (became, body) == asyncio.run(become([bytes([byte]) for byte in b"".join(reads)]))


async def test_the_end_hands_back_what_follows() -> None:
    """It is nobody's; the body is drained once its last piece has been read."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, Chunked())
    assert None is tap.feed(chunk(b"a"))
    assert b"HTTP/1.1" == tap.feed(chunk(b"b") + b"0\r\n\r\nHTTP/1.1")
    assert not tap.drained
    assert b"ab" == await tap.read()
    assert tap.drained
    assert b"" == await tap.read()


async def test_a_chunk_without_a_size_is_a_broken_body() -> None:
    """What came before is handed out, then the reader is told."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, Chunked())
    tap.feed(chunk(b"a") + b"zz\r\nabc")
    assert b"a" == await tap.read()
    with pytest.raises(StreamCut):
        await tap.read()
    assert transport.aborted


async def test_a_slow_reader_pauses_the_connection() -> None:
    """Beyond the bound reading stops, and goes on when what waited has been taken, in pieces."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, Chunked())
    for _ in range(10):
        tap.feed(chunk(b"x" * 10_000))
    assert not transport.reading
    pieces = []
    while not transport.reading:
        pieces.append(len(await tap.read()))
    assert [32_768, 32_768, 32_768, 1_696] == pieces


async def test_a_body_that_ends_leaves_the_connection_listening() -> None:
    """However much of it waits to be read: the pool has to hear what comes unasked."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, Chunked())
    tap.feed(chunk(b"x" * 100_000))
    assert not transport.reading
    tap.feed(b"0\r\n\r\n")
    assert transport.reading


@pytest.mark.parametrize(
    ("framing", "error", "whole"),
    [
        (UntilClosed(), None, True),
        (UntilClosed(), ConnectionResetError(), False),
        (Sized(5), None, False),
        (Chunked(), None, False),
    ],
)
async def test_a_lost_connection_ends_only_what_ends_with_it(
    framing: Framing, error: Exception | None, *, whole: bool
) -> None:
    """And only where the other side closed it in order: a reset is no end."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, framing)
    tap.lost(error)
    assert whole is tap.drained
    if not whole:
        with pytest.raises(StreamCut):
            await tap.read()


async def test_unary_answers_and_streams_share_connections() -> None:
    """The tap of one answer does not stay for the next."""
    replies = [HEAD + chunk(EVENT) + b"0\r\n\r\n"]
    whole = json.dumps({"candidates": [CANDIDATE]}).encode()
    kind = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    replies.append(kind + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(whole) + b"0\r\n\r\n")
    turn = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        while await reader.readuntil(b"\r\n\r\n"):
            await reader.readuntil(b"}]}]}")
            writer.write(replies[turn % 2])
            turn += 1

    async with talking(serve) as (upstream, seen):
        for _ in range(3):
            events = [event async for event in upstream.stream(new_call(), REQUEST)]
            assert "née" == events[1].delta.parts[0].text
            response = await upstream.process(new_call(), REQUEST)
            assert "née" == response.candidates[0].content.parts[0].text
        assert 1 == len(seen)


@pytest.mark.parametrize("end", [b"", b"5\r\nab", b"zz\r\n"])
async def test_a_stream_that_breaks_off_is_cut(end: bytes) -> None:
    """Between chunks, within one, or with what is none."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}]}]}")
        begun = EVENT.replace(b', "finishReason": "STOP"', b"")
        writer.write(HEAD + chunk(begun) + end)
        await writer.drain()

    async with talking(serve) as (upstream, _):
        count = 0
        with pytest.raises(errors.StreamCut):
            async for _event in upstream.stream(new_call(), REQUEST):
                count += 1
        assert 2 == count


@pytest.mark.parametrize(
    ("came", "limit", "taken"),
    [
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 5, b"abcde"),
        (b"0\r\n\r\n", 5, b""),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 4, None),
        (b"3\r\nabc\r\n", 5, None),
        (b"3\r\nabc\r\nstrange", 5, None),
        (b"%x\r\n%b\r\n0\r\n\r\n" % (40_000, b"x" * 40_000), 50_000, None),
    ],
)
async def test_a_body_is_taken_at_once_where_it_is_there(
    came: bytes, limit: int, taken: bytes | None
) -> None:
    """Else it is left as it is: one that goes on, broke off, or is larger than the bound."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, Chunked())
    tap.feed(came)
    assert taken == tap.at_once(limit)
    if taken is not None:
        assert (True, b"") == (tap.drained, await tap.read())
    else:
        tap.lost(None)
        assert await read_of(tap)
