"""Packed bodies: unpacked no further than they are read."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest

from gemini_backend.errors import StreamCut
from gemini_backend.upstream.gemini.connection.framing import Sized, UntilClosed
from gemini_backend.upstream.gemini.connection.http1.inflating import Inflating, packing_of
from gemini_backend.upstream.gemini.connection.http1.no_answer import UnknownEncoding
from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap
from tests.upstream.gemini.connection.http1.line import FakeTransport

TEXT = b"".join(b"line %d\n" % number for number in range(20_000))
GZIP, ZLIB, RAW = 31, 15, -15


def packed(data: bytes, bits: int) -> bytes:
    """Return it packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    return packer.compress(data) + packer.flush()


def body(data: bytes, kind: int, *, pieces: int = 1, whole: bool = True) -> Inflating:
    """Return a packed body that has come in so many reads; where not whole, it was cut."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, Sized(len(data) + (not whole)))
    step = -(-len(data) // pieces)
    for at in range(0, len(data), step):
        tap.feed(data[at : at + step])
    if not whole:
        tap.lost(None)
    return Inflating(tap, kind)


async def read(found: Inflating) -> tuple[bytes, int]:
    """Return what a body unpacks to, and the size of the largest read."""
    reads = []
    while piece := await found.read():
        reads.append(piece)
    return b"".join(reads), max(map(len, reads), default=0)


@pytest.mark.parametrize(
    ("bits", "kind"), [(GZIP, "gzip"), (GZIP, "x-gzip"), (ZLIB, "deflate"), (RAW, "Deflate")]
)
async def test_a_packed_body_is_unpacked(bits: int, kind: str) -> None:
    """In small reads; it is drained then."""
    found = body(packed(TEXT, bits), packing_of(kind), pieces=7)
    assert not found.drained
    text, largest = await read(found)
    assert (TEXT, True, False) == (text, found.drained, found.in_mid_chunk)
    assert largest <= 64 * 1024


async def test_members_of_gzip_follow_each_other() -> None:
    """They are one text; what is behind the last and is none is dropped."""
    found = body(packed(b"a", GZIP) + packed(b"b", GZIP) + b"\0\0\0", GZIP)
    assert b"ab" == (await read(found))[0]


async def test_an_empty_body_is_empty_however_it_is_labelled() -> None:
    """Nothing has to be unpacked."""
    transport: Any = FakeTransport()
    tap = StreamTap(asyncio.get_running_loop(), transport, UntilClosed())
    tap.lost(None)
    assert b"" == (await read(Inflating(tap, GZIP)))[0]


async def failure(found: Inflating) -> type[BaseException] | None:
    """Return what reading a body raises."""
    try:
        await read(found)
    except StreamCut as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    "data", [packed(TEXT, GZIP)[:-9], packed(TEXT, GZIP)[:100], b"no gzip at all", b"\x1f\x8b"]
)
async def test_a_packed_form_that_ends_early_or_is_none_is_a_cut(data: bytes) -> None:
    """Although the framing is whole."""
    found = body(data, GZIP)
    assert StreamCut is await failure(found)


async def test_a_cut_within_a_packed_body_owes_the_rest() -> None:
    """However good what came looks."""
    found = body(packed(TEXT, GZIP)[:-9], GZIP, whole=False)
    assert found.in_mid_chunk
    assert StreamCut is await failure(found)


async def test_a_bomb_is_unpacked_no_further_than_it_is_read() -> None:
    """Each read is bounded, and other work has its turn in between."""
    found = body(packed(bytes(50_000_000), GZIP), GZIP)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert 64 * 1024 == len(await found.read())
    for _ in range(200):
        await found.read()
    task.cancel()
    assert turns > 5


async def test_what_was_put_back_is_read_again() -> None:
    """Before the rest."""
    found = body(packed(b"abc", GZIP), GZIP)
    found.put_back(await found.read())
    assert found.at_hand
    assert b"abc" == (await read(found))[0]


@pytest.mark.parametrize("encoding", [None, "", "identity", "utf-8"])
def test_what_is_not_packed_is_left_alone(encoding: str | None) -> None:
    """Whatever servers write into that header."""
    assert 0 == packing_of(encoding)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "br, gzip"])
def test_what_cannot_be_unpacked_is_refused(encoding: str) -> None:
    """By name."""
    with pytest.raises(UnknownEncoding):
        packing_of(encoding)
