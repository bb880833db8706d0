"""The body of an event stream, taken off its connection before aiohttp's own machinery for bodies.

aiohttp opens, keeps and closes the connections, writes requests and reads the heads of answers;
its way of handing on a body costs some 30 µs a read, more than all else that is done with an event.
So its protocol is given the head, and the end, of an event stream, and what stands between is
unpacked here. Where an answer is anything else nothing is tapped, and the body comes the usual way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError
from aiohttp.client_proto import ResponseHandler

if TYPE_CHECKING:
    import asyncio

    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

_HEAD_END = b"\r\n\r\n"
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_LINE_LIMIT = 1024
_TRAILERS_LIMIT = 16 * 1024
_HIGH_WATER = 64 * 1024
"""Bytes that may wait here for a slow reader; beyond it reading pauses, and TCP slows the model API
down."""
_OK = 200


class StreamTap:
    """One chunked body, unpacked as it comes; read by one reader."""

    __slots__ = (
        "_error",
        "_left",
        "_line",
        "_loop",
        "_paused",
        "_pieces",
        "_size",
        "_skip",
        "_transport",
        "_waiter",
        "ended",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        """Begin behind the head of an answer."""
        self._loop = loop
        self._transport = transport
        self._pieces: list[bytes] = []
        self._size = 0  # of the pieces
        self._left = 0  # bytes of the chunk under way that have not come
        self._skip = 0  # bytes of the line end behind it
        self._line = b""  # the beginning of a line with a chunk's size
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: ClientPayloadError | None = None
        self.ended = False

    async def read(self) -> bytes:
        """Return what has come; empty at the end.

        Raises:
            ClientPayloadError: the connection was lost, or what came is no chunk.
        """
        if not self._pieces and not self.ended:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._pieces:
            read = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            return read
        if self._error is not None:
            raise self._error
        return b""

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes off the connection; at the end return those from the last chunk's line on."""
        if self._line:
            data, self._line = self._line + data, b""
        at, length = 0, len(data)
        while at < length:
            if self._left:
                piece = data[at : at + self._left]
                self._pieces.append(piece)
                self._size += len(piece)
                self._left -= len(piece)
                at += len(piece)
                self._skip = 0 if self._left else 2
            elif self._skip:
                gone = min(self._skip, length - at)
                self._skip -= gone
                at += gone
            else:
                line = _SIZE_LINE.match(data, at)
                if line is None:
                    self._keep(data[at:], 0 if b"\n" in data[at:] else _LINE_LIMIT)
                    break
                self._left = int(line[1], 16)
                if not self._left:
                    return self._last(data[at:])
                at = line.end()
        if self._pieces:
            self._wake()
            if self._size > _HIGH_WATER and not self._paused:
                self._paused = True
                self._transport.pause_reading()
        return None

    def lost(self) -> None:
        """Note that the connection is gone."""
        self._end(ClientPayloadError("the connection was lost in the middle of a body"))

    def _last(self, rest: bytes) -> bytes | None:
        """End, once the empty line behind the last chunk and its trailers is there."""
        if _HEAD_END not in rest:
            self._keep(rest, _TRAILERS_LIMIT)
            return None
        self._end(None)
        return rest

    def _keep(self, beginning: bytes, limit: int) -> None:
        """Keep the beginning of what can only be read whole, unless it can come to nothing."""
        if len(beginning) > limit:
            self._end(ClientPayloadError("a chunk of a body has no size"))
            self._transport.abort()
        else:
            self._line = beginning

    def _end(self, error: ClientPayloadError | None) -> None:
        if not self.ended:
            self.ended = True
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class TappedHandler(ResponseHandler):
    """aiohttp's protocol of a connection, with a tap for event streams."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin without a tap."""
        super().__init__(loop)
        self.tap: StreamTap | None = None
        self._armed = False
        self._seen = b""  # the last bytes of a head whose end has not come
        self._head: RawResponseMessage | None = None

    def arm(self, *, wanted: bool) -> None:
        """Prepare for the next answer, which is to be tapped if it is an event stream."""
        self.tap = None
        self._armed = wanted
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        """Hand bytes to the tap where there is one, to aiohttp otherwise."""
        if self.tap is not None and not self.tap.ended:
            rest = self.tap.feed(data)
            if rest is not None:
                super().data_received(rest)
        elif self._armed:
            self._read_head(data)
        else:
            super().data_received(data)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take note of the head that aiohttp has read."""
        self._head = data[0]
        super().feed_data(data, size)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the tap, too."""
        super().connection_lost(exc)
        if self.tap is not None:
            self.tap.lost()

    def _read_head(self, data: bytes) -> None:
        """Give aiohttp the head and nothing more, then put the tap on what follows."""
        end = (self._seen + data).find(_HEAD_END)
        if end < 0:
            self._seen = (self._seen + data)[-3:]
            super().data_received(data)
            return
        self._armed = False
        cut = end + len(_HEAD_END) - len(self._seen)
        self._head = None
        super().data_received(data[:cut])
        transport = self.transport
        if transport is not None and self._head is not None and _is_event_stream(self._head):
            self.tap = StreamTap(self._loop, transport)
        if cut < len(data):
            self.data_received(data[cut:])


def _is_event_stream(head: RawResponseMessage) -> bool:
    return (
        head.code == _OK
        and head.chunked
        and not head.compression
        and head.headers.get("Content-Type", "").startswith("text/event-stream")
    )
