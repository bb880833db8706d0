"""The body of an answer, taken off its connection before aiohttp's own machinery for bodies.

That machinery costs some 30 µs a read, more than all else that is done with an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError

from gemini_backend.sizes import KIB
from gemini_backend.upstream.gemini.connection.framing import OPEN, BrokenFraming

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.upstream.gemini.connection.framing import Framing

_HIGH_WATER = 64 * KIB
"""Bytes that may wait here for a slow reader; beyond it reading pauses, and TCP slows the model API
down."""


class StreamTap:
    """One body, unpacked as it comes; read by one reader."""

    __slots__ = (
        "_error",
        "_framing",
        "_loop",
        "_paused",
        "_pieces",
        "_size",
        "_transport",
        "_waiter",
        "ended",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, framing: Framing
    ) -> None:
        """Begin behind the head of an answer."""
        self._loop = loop
        self._transport = transport
        self._framing = framing
        self._pieces: list[bytes] = []
        self._size = 0  # of what came since the last read, framing included
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: ClientPayloadError | None = None
        self.ended = False

    @property
    def drained(self) -> bool:
        """Whether the body is whole and has been read to its end."""
        return self.ended and not self._pieces and self._error is None

    @property
    def in_mid_chunk(self) -> bool:
        """Whether the framing has announced bytes that have not come."""
        return self._framing.owes

    async def read(self) -> bytes:
        """Return what has come; empty at the end.

        Raises:
            ClientPayloadError: the connection was lost, or what came breaks the framing.
        """
        if not self._pieces and not self.ended:
            self._waiter = self._loop.create_future()
            await self._waiter
        if self._pieces:
            read = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            self._resume()
            return read
        if self._error is not None:
            raise self._error
        return b""

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes off the connection; at the body's end return those behind it, else None."""
        try:
            end = self._framing.take(data, self._pieces)
        except BrokenFraming as error:
            self._end(ClientPayloadError(str(error)))
            self._transport.abort()
            return None
        if end != OPEN:
            self._end(None)
            return data[end:]
        self._size += len(data)
        if self._pieces:
            self._wake()
            if self._size > _HIGH_WATER and not self._paused:
                self._paused = True
                self._transport.pause_reading()
        return None

    def lost(self, error: BaseException | None) -> None:
        """Note that the connection is gone: closed by the other side, or broken by `error`."""
        if error is None and self._framing.ends_with_connection:
            self._end(None)
            return
        broken = ClientPayloadError("the connection was lost in the middle of a body")
        broken.__cause__ = error
        self._end(broken)

    def _end(self, error: ClientPayloadError | None) -> None:
        if not self.ended:
            self.ended = True
            self._error = error
            self._resume()  # a connection that goes back to the pool has to hear what comes
            self._wake()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
