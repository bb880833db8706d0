"""An answer, from its head on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from gemini_backend.upstream.gemini.connection.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gemini_backend.upstream.gemini.connection.http1.connection import Connection
    from gemini_backend.upstream.gemini.connection.http1.head import Head


class Body(Protocol):
    """Where the body of an answer is read; see `Exchange`."""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come on the connection."""
        ...

    @property
    def drained(self) -> bool:
        """Whether the body is whole and has been read to its end."""
        ...

    @property
    def at_hand(self) -> bool:
        """Whether `read` is known to return without a wait."""
        ...

    @property
    def in_mid_chunk(self) -> bool:
        """Whether bytes were announced that have not come."""
        ...

    def at_once(self, limit: int) -> bytes | None:
        """Return all that is left, at most `limit` bytes, if it is there; else None."""
        ...

    async def read(self) -> bytes:
        """Return what has come; empty at the end."""
        ...

    def put_back(self, piece: bytes) -> None:
        """Take back what was read last."""
        ...


class NoBody:
    """The body of an answer that has none."""

    ended = drained = at_hand = True
    in_mid_chunk = False

    def at_once(self, _limit: int) -> bytes | None:
        """Return nothing, which is all that there is."""
        return b""

    async def read(self) -> bytes:
        """Return the end."""
        return b""

    def put_back(self, _piece: bytes) -> None:
        """Do nothing: nothing was read."""


class Answer(Exchange):
    """One request that has got the head of its answer."""

    __slots__ = ("_body", "_connection", "_head", "_leave", "read")

    read: Callable[[], Coroutine[Any, Any, bytes]]

    def __init__(
        self, head: Head, body: Body, connection: Connection, leave: Callable[[], None]
    ) -> None:
        """Hold a connection until `close`, of which `leave` is told, or to the body's end."""
        self._head = head
        self._body = body
        self._connection: Connection | None = connection
        self._leave = leave
        self.read = body.read
        self.status = head.status
        self.content_type = head.find(b"content-type") or ""

    def header(self, name: str) -> str:
        """Return a header of the answer, empty where it is not there."""
        return self._head.find(name.lower().encode()) or ""

    @property
    def in_mid_chunk(self) -> bool:
        """Whether the framing has announced bytes that have not come."""
        return self._body.in_mid_chunk

    @property
    def drained(self) -> bool:
        """Whether the body is whole and has been read to its end."""
        return self._body.drained

    @property
    def at_hand(self) -> bool:
        """Whether `read` is known to return without a wait."""
        return self._body.at_hand

    def at_once(self, limit: int) -> bytes | None:
        """Return what `body` would, where that is known to take no wait; None where it is not."""
        return self._body.at_once(limit)

    def put_back(self, piece: bytes) -> None:
        """Take back what was read last, to be read again."""
        self._body.put_back(piece)

    def close(self) -> None:
        """Give the connection up; it is closed at once unless its answer has come to its end."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._leave()
            if not self._body.ended:
                connection.abort()
