"""One connection, strict about whose bytes arrive on it.

HTTP/1.1 has nothing in an answer that says which request it belongs to but its place on the
connection. So bytes count only between the moment at which a request begins to be written and the
last byte of its answer. Any others condemn the connection: it is closed and carries nothing more.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol, cast

from gemini_backend.sizes import KIB, MIB
from gemini_backend.upstream.gemini.connection.framing import framing_of
from gemini_backend.upstream.gemini.connection.http1.head_reader import HeadReader
from gemini_backend.upstream.gemini.connection.http1.no_answer import (
    HungUp,
    NoAnswer,
    UnusableConnection,
)
from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.http1.head import Head

Answered = tuple["Head", StreamTap | None]
"""The head of an answer, and its body; None where none can follow."""

_AT_ONCE = 64 * KIB
"""Bytes of a request that are handed to the kernel in one piece, and of each piece of others."""
_IN_A_ROW = MIB
"""Bytes of a request after which other work has its turn, however fast the other side reads."""
_TURNS = 2
"""Turns of the event loop in which it reads what the kernel has, and tells of it."""
_REQUEST_TIMEOUT = 408
_REFUSALS = 400


class Owner(Protocol):
    """Who is told what becomes of a connection."""

    def opened(self, connection: Connection) -> None:
        """Take note of a connection that has been made."""
        ...

    def ended(self, connection: Connection) -> None:
        """Take a connection back, whose answer has ended and which may be used again."""
        ...

    def gone(self, connection: Connection) -> None:
        """Take note that a connection is closed; it may be told more than once."""
        ...

    def stray(self, idle_seconds: float) -> None:
        """Take note of bytes that nobody asked for, after the connection was idle for so long."""
        ...


class Connection(asyncio.Protocol):
    """One connection: held by one call after another, idle between them.

    Attributes:
        uses: How many requests it has carried, the one under way included.
        closed: Whether it is of no more use.
        idle_since: When its latest answer ended, on the loop's clock; 0 while it is in use.
        ready_at: When it will have settled, for its owner.
        encrypted: Whether it is by TLS.
    """

    __slots__ = (
        "_full",
        "_head",
        "_keeps",
        "_loop",
        "_owner",
        "_poll",
        "_tap",
        "_unsent",
        "_waiter",
        "closed",
        "encrypted",
        "idle_since",
        "ready_at",
        "transport",
        "uses",
    )
    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop, owner: Owner) -> None:
        """Begin unconnected."""
        self._loop = loop
        self._owner = owner
        self.uses = 0
        self.closed = False
        self.idle_since = 0.0
        self.ready_at = 0.0
        self.encrypted = False
        self._poll: select.poll | None = None
        self._waiter: asyncio.Future[Answered] | None = None  # while a head is expected
        self._head: HeadReader | None = None  # while one is coming
        self._tap: StreamTap | None = None  # while a body is expected
        self._keeps = False
        self._unsent: memoryview | None = None
        self._full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Get to know the socket."""
        self.transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)
        self.encrypted = transport.get_extra_info("ssl_object") is not None
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for a head, or for a body."""
        self._poll = self._unsent = None
        self.closed = True
        self._fail(HungUp(exc, begun=self._head is not None))
        if self._tap is not None:
            self._tap.lost(exc)
        self._owner.gone(self)

    def data_received(self, data: bytes) -> None:
        """Hand bytes to whom they belong."""
        if self._tap is not None:
            surplus = self._tap.feed(data)
            if surplus is not None:
                self._over(surplus)
        elif self._waiter is not None:
            self._read_head(data)
        else:
            self._condemn()

    def pause_writing(self) -> None:
        """Write no more of a large request: what was written waits for the other side."""
        self._full = True

    def resume_writing(self) -> None:
        """Go on with a large request."""
        self._full = False
        self._write()

    def pending(self) -> bool:
        """Tell whether the kernel has bytes, or an end, that nobody has read."""
        return self._poll is not None and bool(self._poll.poll(0))

    async def settled(self) -> None:
        """Let the event loop read what is pending on an encrypted connection.

        It may be no data, such as a ticket for a later session. Data condemns the connection.
        """
        for _ in range(_TURNS):
            if not self.pending():
                break
            await asyncio.sleep(0)

    def usable(self) -> bool:
        """Tell whether a request may be written, which is to be done without a wait.

        It may not where the connection is closed, or something has come on it before anything was
        asked. On a fresh encrypted connection what the kernel has is not looked at: it is most
        likely a ticket for a later session, and cannot be an earlier answer.
        """
        if self.closed or self.transport.is_closing():
            return False
        return (self.encrypted and not self.uses) or not self.pending()

    def ask(self, head: bytes, body: bytes | None) -> asyncio.Future[Answered]:
        """Write a request; return what will be the head of its answer, or a `NoAnswer`.

        A small request goes out in one piece, a large one as fast as the other side reads it.
        Whoever no longer waits calls `leave`.
        """
        self.uses += 1
        self.idle_since = 0.0
        self._keeps = True
        waiter = self._waiter = self._loop.create_future()
        if not body:
            self.transport.write(head)
        elif len(body) <= _AT_ONCE:
            self.transport.write(head + body)
        else:
            self.transport.write(head)
            self._unsent = memoryview(body)
            self._write()
        return waiter

    def leave(self, waiter: asyncio.Future[Answered]) -> None:
        """Close the connection of a request whose answer nobody wants.

        Not where the answer has come whole: the connection may be in another's use by now.
        """
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            _, tap = waiter.result()
            if tap is None or tap.ended:
                return
        self.abort()

    def abort(self) -> None:
        """Close the connection at once, whatever it is doing."""
        if not self.closed:
            self.closed = True
            self._unsent = None
            self.transport.abort()
            self._owner.gone(self)

    def _write(self) -> None:
        """Write of a large request what the other side has room for, and not too much in a row."""
        unsent, written = self._unsent, 0
        while unsent is not None and not self._full:
            if written >= _IN_A_ROW:
                self._loop.call_soon(self._write)
                break
            piece = unsent[:_AT_ONCE]
            written += len(piece)
            unsent = self._unsent = unsent[_AT_ONCE:] if len(unsent) > _AT_ONCE else None
            self.transport.write(piece)

    @property
    def _sent(self) -> bool:
        """Whether the request has left this process."""
        return self._unsent is None and not self.transport.get_write_buffer_size()

    def _fail(self, error: NoAnswer) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _refuse(self, error: NoAnswer) -> None:
        """Fail the call that waits for the head of an answer, and close the connection."""
        self._fail(error)
        self.abort()

    def _read_head(self, data: bytes) -> None:
        reader = self._head
        if reader is None:
            if not self._sent:
                # On a fresh connection it may be an answer, such as a 413. On another it may as
                # well be what was sent of an earlier one: the request is incomplete and has not
                # been carried out, so it goes out again on a fresh connection.
                if self.uses > 1:
                    self._refuse(UnusableConnection())
                    return
                self._keeps = False
            reader = self._head = HeadReader()
        try:
            head = reader.feed(data)
        except NoAnswer as error:
            self._refuse(error)
            return
        if head is not None:
            self._head = None
            self._answer(head, reader.behind)

    def _answer(self, head: Head, behind: bytes) -> None:
        """Give the head to whoever waits, then expect its body."""
        if head.status == _REQUEST_TIMEOUT and self.uses > 1:
            # meant for a connection that had been idle for long; it crossed the request
            self._refuse(UnusableConnection())
            return
        if head.status >= _REFUSALS and self._unsent is not None:
            self._unsent = None  # nobody will read the rest
            self._keeps = False
        self._keeps = self._keeps and head.keeps
        framing = framing_of(
            head.status, head.find(b"transfer-encoding"), head.find(b"content-length")
        )
        tap = None if framing is None else StreamTap(self._loop, self.transport, framing)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result((head, tap))
        self._tap = tap
        if tap is None:
            self._over(behind)
        elif behind:
            self.data_received(behind)

    def _over(self, surplus: bytes) -> None:
        """Give the connection back; what came behind the answer condemns it, not the answer."""
        self._tap = None
        if surplus:
            self._condemn()
        elif self._keeps:
            self.idle_since = self._loop.time()
            self._owner.ended(self)
        else:
            self.abort()

    def _condemn(self) -> None:
        """Close the connection because of what came."""
        if not self.closed:
            idle = self._loop.time() - self.idle_since if self.idle_since else 0.0
            self._owner.stray(idle)
            self.abort()
