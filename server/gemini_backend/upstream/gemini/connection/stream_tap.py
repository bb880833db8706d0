"""The body of an answer, taken off its connection as it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.errors import StreamCut
from gemini_backend.sizes import KIB
from gemini_backend.upstream.gemini.connection.framing import OPEN, BrokenFraming
from gemini_backend.upstream.gemini.connection.sockets import path_died

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.upstream.gemini.connection.framing import Framing

_AT_ONCE = 32 * KIB
"""All that is made of a read is there at once: payloads, messages, and what they are serialised to;
so that is what a caller costs that does not read."""
_HIGH_WATER = 32 * KIB
"""Bytes that may wait here for a slow reader; beyond it reading pauses, and TCP slows the model API
down."""


def broken_off(why: str, error: BaseException | None = None) -> StreamCut:
    """Return the failure that a body is which broke off, `error` being what the kernel said."""
    if path_died(error):
        return StreamCut(
            "the connection to the model API was lost during the answer: no TCP keepalive "
            "probe was answered within upstream.gemini.tcp_keepalive_time_seconds and "
            ".tcp_keepalive_timeout_seconds; retry"
        )
    return StreamCut(f"the connection to the model API broke off during the answer ({why}); retry")


class StreamTap:
    """One body, unpacked as it comes; read by one reader."""

    __slots__ = (
        "_cut",
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
        self._cut: StreamCut | None = None
        self.ended = False

    @property
    def drained(self) -> bool:
        """Whether the body is whole and has been read to its end."""
        return self.ended and not self._pieces and self._cut is None

    @property
    def at_hand(self) -> bool:
        """Whether something has come that was not read, or nothing more will come."""
        return self.ended or bool(self._pieces)

    @property
    def in_mid_chunk(self) -> bool:
        """Whether the framing has announced bytes that have not come."""
        return self._framing.owes

    async def read(self) -> bytes:
        """Return what has come, at most 32 KiB; empty at the end.

        Raises:
            StreamCut: the connection was lost, or what came breaks the framing.
        """
        pieces = self._pieces
        if not pieces and not self.ended:
            self._waiter = self._loop.create_future()
            await self._waiter
        if pieces:
            read = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            if len(read) > _AT_ONCE:
                pieces.append(read[_AT_ONCE:])
                return read[:_AT_ONCE]
            self._size = 0
            if self._paused:
                self._resume()
            return read
        if self._cut is not None:
            raise self._cut
        return b""

    def at_once(self, limit: int) -> bytes | None:
        """Return all that is left of the body, if it has ended well; None else.

        At most `limit` bytes, and no more than `read` returns at a time.
        """
        if not self.ended or self._cut is not None:
            return None
        pieces = self._pieces
        left = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if len(left) > min(limit, _AT_ONCE):
            return None
        pieces.clear()
        return left

    def put_back(self, piece: bytes) -> None:
        """Take back what was read last, to be read again."""
        self._pieces.insert(0, piece)

    def feed(self, data: bytes) -> bytes | None:
        """Take bytes off the connection; at the body's end return those behind it, else None."""
        try:
            end = self._framing.take(data, self._pieces)
        except BrokenFraming as error:
            self._end(broken_off(str(error)))
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
        else:
            self._end(broken_off("the connection was lost in the middle of a body", error))

    def _end(self, cut: StreamCut | None) -> None:
        if not self.ended:
            self.ended = True
            self._cut = cut
            self._resume()  # a connection that goes back to the pool has to hear what comes
            self._wake()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
