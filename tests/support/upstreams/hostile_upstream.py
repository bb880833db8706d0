"""An upstream that misbehaves as the model's name says."""

from __future__ import annotations

import asyncio
import re
import zlib
from typing import TYPE_CHECKING

from tests.support.upstreams.raw_upstreams import PIECE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Way = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]

EVENT = PIECE.replace(b'"index":0', b'"finishReason":"STOP","index":0') % b"good"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = STREAM + b"Transfer-Encoding: chunked\r\n\r\n"
_VERB = re.compile(rb"models/([a-z0-9-]+):(\w+)")
WAYS: dict[str, Way] = {}


def way(function: Way) -> Way:
    """Misbehave in this way where the model has its name."""
    WAYS[function.__name__.replace("_", "-")] = function
    return function


def chunk(data: bytes) -> bytes:
    """Return a chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def sized(body: bytes, more: bytes = b"", status: bytes = b"200 OK") -> bytes:
    """Return an answer of a known length."""
    head = b"HTTP/1.1 %s\r\nContent-Type: text/event-stream\r\n%sContent-Length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body


def gzip(data: bytes) -> bytes:
    """Return it packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection until it is left, or the way ends it."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        body = await reader.readexactly(int(length[1])) if length else b""
        found = _VERB.search(head.split(b"\r\n", 1)[0])
        if found is None:
            writer.write(sized(b'{"models":[]}'))
            continue
        await WAYS[found[1].decode()](reader, writer, body)
        await writer.drain()


async def for_ever(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Send the same until the other side leaves."""
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)


@way
async def ok(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    """Behave."""
    writer.write(CHUNKED + chunk(EVENT) + b"0\r\n\r\n")


@way
async def again(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    """Answer twice."""
    writer.write((CHUNKED + chunk(EVENT) + b"0\r\n\r\n") * 2)


@way
async def trailers(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Add trailers and extensions."""
    rest = b"0;last=yes\r\nX-A: 1\r\nX-B: 2\r\n\r\n"
    writer.write(CHUNKED + chunk(EVENT).replace(b"\r\n", b";a=b\r\n", 1) + rest)


@way
async def hints(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    """Announce the answer by informational heads."""
    for number in (100, 102, 103):
        writer.write(b"HTTP/1.1 %d Soon\r\nX-A: b\r\n\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.01)
    await ok(_reader, writer, _body)


@way
async def packed(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    """Compress, although nobody asked for it."""
    writer.write(sized(gzip(EVENT), b"Content-Encoding: gzip\r\n"))


@way
async def half_head(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Hang up within the head."""
    writer.write(STREAM)
    await writer.drain()
    writer.close()


@way
async def no_body(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Hang up between head and body."""
    writer.write(CHUNKED)
    await writer.drain()
    writer.close()


@way
async def endless_head(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Send headers for ever."""
    writer.write(STREAM)
    await for_ever(writer, b"X-A: " + b"b" * 1000 + b"\r\n")


@way
async def endless_header(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Send one header for ever."""
    writer.write(STREAM + b"X-A: ")
    await for_ever(writer, b"b" * 60_000)


@way
async def endless_hints(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Send informational heads for ever."""
    await for_ever(writer, b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@way
async def two_lengths(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Contradict itself."""
    writer.write(sized(EVENT, b"Content-Length: 5\r\n"))


@way
async def length_and_chunks(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Frame the body in two ways."""
    writer.write(STREAM + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(EVENT))


@way
async def too_short(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Send less than announced."""
    writer.write(sized(EVENT + b"x" * 99)[:-120])
    await writer.drain()
    writer.close()


@way
async def huge_chunk(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Announce a chunk of 2^63 bytes."""
    writer.write(CHUNKED + b"8000000000000000\r\n" + EVENT)


@way
async def large_trailers(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Send a megabyte of trailers behind half an answer."""
    writer.write(CHUNKED + chunk(PIECE % b"half") + b"0\r\n" + b"X-A: 123\r\n" * 100_000)


@way
async def gzip_cut(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """End a packed form early."""
    writer.write(sized(gzip(PIECE % b"half")[:-20], b"Content-Encoding: gzip\r\n"))


@way
async def gzip_none(
    _reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes
) -> None:
    """Call packed what is not."""
    writer.write(sized(b"plain " * 9, b"Content-Encoding: gzip\r\n"))


@way
async def brotli(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    """Pack in a way that nobody can unpack here."""
    writer.write(sized(b"plain " * 9, b"Content-Encoding: br\r\n"))


@way
async def bomb(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    """Pack 200 MB into 200 kB."""
    writer.write(sized(_BOMB, b"Content-Encoding: gzip\r\n"))


@way
async def refusal(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    """Refuse."""
    writer.write(sized(b'{"error":{"code":400,"message":"no"}}', status=b"400 Bad Request"))


_BOMB = gzip(b'{"candidates":[{"content":{"parts":[{"text":"' + b"a" * 200_000_000)
