"""Bodies that are packed, though this was not asked for, unpacked as they are read."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

from gemini_backend.sizes import KIB, MIB
from gemini_backend.upstream.gemini.connection.http1.no_answer import UnknownEncoding
from gemini_backend.upstream.gemini.connection.stream_tap import broken_off

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap

_AT_ONCE = 64 * KIB
"""Bytes that one read returns at most, however few they were made of."""
_IN_A_ROW = MIB
"""Bytes after which other work has its turn, even where everything is at hand."""
_GZIP, _ZLIB, _RAW = 31, 15, -15
_GZIP_MAGIC = b"\x1f\x8b"
_ZLIB_METHOD = 8
_KINDS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}
# what is named so is packed; other words, such as a character set, are a mistake of the server's
_UNKNOWN = frozenset({"br", "zstd", "compress", "x-compress"})


def packing_of(encoding: str | None) -> int:
    """Return how a body is packed by its header `Content-Encoding`; 0 where it is not.

    Raises:
        UnknownEncoding: it is in a way that cannot be unpacked.
    """
    if encoding is None:
        return 0
    words = [word.strip() for word in encoding.lower().split(",")]
    packed = [word for word in words if word in _KINDS or word in _UNKNOWN]
    if len(packed) > 1 or _UNKNOWN.intersection(packed):
        raise UnknownEncoding
    return _KINDS[packed[0]] if packed else 0


class Inflating:
    """A packed body; read by one reader, and unpacked no further than it is read."""

    __slots__ = ("_ahead", "_full", "_inflate", "_kind", "_packed", "_run", "_tap")

    def __init__(self, tap: StreamTap, kind: int) -> None:
        """Unpack what comes out of `tap`, by what `packing_of` has returned."""
        self._tap = tap
        self._kind = kind
        self._inflate: Any = None  # until something has come
        self._packed = b""
        self._full = False  # more may be there to unpack of what was taken in
        self._ahead = b""
        self._run = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come on the connection."""
        return self._tap.ended

    @property
    def drained(self) -> bool:
        """Whether the body is whole and has been read to its end."""
        return self._tap.drained and not self._ahead and self._done

    @property
    def at_hand(self) -> bool:
        """Whether `read` is known to return without a wait."""
        return bool(self._ahead)

    @property
    def in_mid_chunk(self) -> bool:
        """Whether the framing, or the packing, has announced bytes that have not come."""
        return self._tap.in_mid_chunk or not self._done

    def at_once(self, _limit: int) -> bytes | None:
        """Return None: it has to be unpacked."""
        return None

    async def read(self) -> bytes:
        """Return what has come, at most 64 KiB; empty at the end.

        Raises:
            StreamCut: the connection was lost, the framing was broken, or this cannot be unpacked.
        """
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        while True:
            while self._packed or self._full:
                await self._breathe()  # before, so that a wait which is cancelled loses nothing
                found = self._unpack()
                self._run += len(found) or _AT_ONCE
                if found:
                    return found
            self._packed = await self._tap.read()
            if not self._packed:
                if self._done:
                    return b""
                raise broken_off("its compressed form is incomplete")

    def put_back(self, piece: bytes) -> None:
        """Take back what was read last, to be read again."""
        self._ahead = piece

    @property
    def _done(self) -> bool:
        """Whether the packed form is at an end, or has not begun."""
        if self._packed or self._full:
            return False
        return self._inflate is None or bool(self._inflate.eof)

    def _unpack(self) -> bytes:
        if self._inflate is None:
            kind = self._kind
            if kind == _ZLIB and self._packed[0] & 0xF != _ZLIB_METHOD:
                kind = _RAW  # some send it without the header that it should have
            self._inflate = zlib.decompressobj(kind)
        inflate = self._inflate
        if inflate.eof:  # behind the end: another member, or nothing that is of use
            if not self._packed.startswith(_GZIP_MAGIC):
                self._packed = b""
                return b""
            inflate = self._inflate = zlib.decompressobj(_GZIP)
        try:
            found: bytes = inflate.decompress(self._packed, _AT_ONCE)
        except zlib.error:
            raise broken_off("its compressed form is damaged") from None
        self._full = len(found) == _AT_ONCE and not inflate.eof
        self._packed = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        return found

    async def _breathe(self) -> None:
        if self._run >= _IN_A_ROW:
            self._run = 0
            await asyncio.sleep(0)
