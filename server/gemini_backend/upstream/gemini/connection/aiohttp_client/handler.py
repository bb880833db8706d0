"""aiohttp's protocol of a connection, made strict about whose bytes arrive on it.

HTTP/1.1 has nothing in an answer that says which request it belongs to but its place on the
connection. So bytes count only between the moment at which a request begins to be written and the
last byte of its answer. Any others condemn the connection: it is closed and carries nothing more.
"""

from __future__ import annotations

import re
import select
from enum import Enum
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import BadHttpMessage

from gemini_backend.upstream.gemini.connection.connect_errors import HEAD_LIMIT
from gemini_backend.upstream.gemini.connection.framing import OPEN, BrokenFraming, framing_of
from gemini_backend.upstream.gemini.connection.sockets import read_little
from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from aiohttp.http import RawResponseMessage
    from aiohttp.streams import StreamReader

    from gemini_backend.upstream.gemini.connection.aiohttp_client.lease import Lease
    from gemini_backend.upstream.gemini.connection.framing import Framing

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LONGEST_END = 4
_INFORMATIONAL = range(100, 200)
_SWITCHING = 101
_MOST_INFORMATIONAL = 64
"""Informational heads before an answer; each that came in one read with others is a call deeper."""


class UnusableConnection(ClientConnectionError):
    """The connection cannot be trusted with the request, which has not been carried out."""


class HeadTooLarge(ClientConnectionError):
    """The head of an answer is larger than `HEAD_LIMIT`."""


class Phase(Enum):
    """What a connection is doing.

    Bytes are expected in RAW, where aiohttp leads (it opens a tunnel through a proxy), and in HEAD
    and BODY, which belong to an answer; in no other phase.
    """

    RAW = "raw"
    HELD = "held"
    HEAD = "head"
    BODY = "body"
    OVER = "over"
    IDLE = "idle"


class Handler(ResponseHandler):
    """One connection: unused, then held by one call after another, idle between them.

    aiohttp is given the head of each answer and is told of the end; the body goes to a `StreamTap`,
    unless it is compressed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, stray: Callable[[float], None]) -> None:
        """Begin unconnected.

        `stray` is called when bytes come that nobody asked for, with the seconds for which the
        connection had been idle.
        """
        super().__init__(loop)
        self.used = False
        self._told_of_stray = stray
        self._phase = Phase.RAW
        self._lease: Lease | None = None
        self._tap: StreamTap | None = None
        self._framing: Framing | None = None  # of a body that aiohttp unpacks
        self._head: RawResponseMessage | None = None
        self._head_size = 0
        self._informational = 0
        self._seen = b""  # the last bytes of a head whose end has not come
        self.sent = False
        """Whether the request has been handed over to the transport, all of it."""
        self._condemned = False
        self._idle_since = 0.0
        self._poll: select.poll | None = None
        self.encrypted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Get to know the socket."""
        super().connection_made(transport)
        read_little(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)
        self.encrypted = transport.get_extra_info("ssl_object") is not None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the body under way."""
        self._poll = None
        super().connection_lost(exc)
        if self._tap is not None:
            self._tap.lost(exc)

    def hold(self, lease: Lease) -> None:
        """Give the connection to a call, which has not written anything yet."""
        lease.reused = self.used
        lease.transport = self.transport
        self._lease = lease
        self.used = True
        self._phase = Phase.HELD
        self._tap = self._framing = self._head = None
        self._head_size = self._informational = 0
        self._seen = b""
        self.sent = False

    @property
    def fresh(self) -> bool:
        """Whether it is held by its first call."""
        return self._lease is not None and not self._lease.reused

    def pending(self) -> bool:
        """Tell whether the kernel has bytes, or an end, that nobody has read."""
        return self._poll is not None and bool(self._poll.poll(0))

    def claim(self) -> bool:
        """Expect an answer from now on, to a request that is written next, without a wait.

        False where the connection cannot be trusted: it is closed, or something came on it before
        anything was asked. On a fresh encrypted connection what the kernel has is not looked at: it
        is most likely a ticket for a later session, and cannot be an earlier answer.
        """
        if self._phase is not Phase.HELD or not self.is_connected() or self._tail:
            return False
        if not (self.encrypted and self.fresh) and self.pending():
            return False
        self._phase = Phase.HEAD
        return True

    def refuse(self, error: Exception) -> None:
        """Fail the call that waits for the head of an answer, and close the connection."""
        self.set_exception(error)
        if self.transport is not None:
            self.transport.abort()

    def rest(self) -> bool:
        """Become idle; False where the connection is not to be used again."""
        if self._phase is not Phase.OVER or self.should_close:
            return False
        self._phase = Phase.IDLE
        self._idle_since = self._loop.time()
        self._lease = self._tap = None
        return True

    def data_received(self, data: bytes) -> None:
        """Hand bytes to whom they belong."""
        phase = self._phase
        if phase is Phase.RAW or not data:  # aiohttp feeds itself nothing to go on unpacking
            super().data_received(data)
        elif phase is Phase.BODY:
            self._read_body(data)
        elif phase is Phase.HEAD:
            self._read_head(data)
        else:
            self._condemn()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take note of the head that aiohttp has read."""
        self._head = data[0]
        super().feed_data(data, size)

    def _condemn(self) -> None:
        """Close the connection because of what came; an answer that is over is still read."""
        if not self._condemned:
            self._condemned = True
            idle = self._phase is Phase.IDLE
            self._told_of_stray(self._loop.time() - self._idle_since if idle else 0.0)
        self.force_close()
        transport = self.transport
        if transport is None:
            return
        if self._phase is Phase.OVER:  # held yet; it closes when it is given back
            transport.pause_reading()
        else:
            transport.abort()

    def _read_head(self, data: bytes) -> None:
        """Give aiohttp the head and nothing more, then expect the body."""
        if not self._head_size:
            if self._came_early():
                return
            data = data.lstrip(b"\r\n")  # empty lines before an answer mean nothing
        seen = self._seen + data if self._seen else data
        found = _HEAD_END.search(seen)
        cut = len(data) if found is None else found.end() - len(self._seen)
        self._head_size += cut
        if self._head_size > HEAD_LIMIT:
            self.refuse(HeadTooLarge(f"the head of an answer has more than {HEAD_LIMIT} bytes"))
            return
        self._head = None
        super().data_received(data if cut == len(data) else data[:cut])
        if found is None:
            self._seen = seen[1 - _LONGEST_END :]
            return
        self._seen = b""
        head: RawResponseMessage | None = self._head
        if head is None:
            if not self.is_eof():  # aiohttp has not refused it by itself
                self.refuse(BadHttpMessage("the data is not a response head"))
            return
        if head.code not in _INFORMATIONAL or head.code == _SWITCHING:
            self._expect_body(head)
        else:
            self._informational += 1
            if self._informational > _MOST_INFORMATIONAL:
                self.refuse(HeadTooLarge("too many informational heads precede an answer"))
                return
        if cut < len(data):
            self._after_head(data[cut:])

    def _after_head(self, data: bytes) -> None:
        if self._phase is Phase.OVER:
            self._condemn()
        else:
            self.data_received(data)

    def _came_early(self) -> bool:
        """Deal with an answer that begins before the request has left this process.

        It may be one, such as a 413, where the connection is fresh. Where it is not, it may as well
        be what was sent of an earlier answer; the request is incomplete and has not been carried
        out, so it goes out again on a fresh connection.
        """
        transport = self.transport
        if self.sent and transport is not None and not transport.get_write_buffer_size():
            return False
        if self._lease is not None and self._lease.reused:
            self.refuse(UnusableConnection("an answer came before the request had been sent"))
            return True
        self.force_close()
        return False

    def _expect_body(self, head: RawResponseMessage) -> None:
        headers = head.headers
        framing = framing_of(
            head.code, headers.get("Transfer-Encoding"), headers.get("Content-Length")
        )
        transport = self.transport
        if framing is None or transport is None:
            self._over()
            return
        self._phase = Phase.BODY
        if head.compression:
            self._framing = framing
            return
        self._tap = StreamTap(self._loop, transport, framing)
        if self._lease is not None:
            self._lease.tap = self._tap

    def _read_body(self, data: bytes) -> None:
        if self._tap is not None:
            surplus = self._tap.feed(data)
            if surplus is None:
                return
        else:
            surplus = self._unpacked(data)
            if surplus is None:
                return
        self._over()
        if surplus:
            self._condemn()

    def _unpacked(self, data: bytes) -> bytes | None:
        """Give aiohttp a piece of a body; at the body's end return what is behind it."""
        end = OPEN
        if self._framing is not None:
            try:
                end = self._framing.take(data, [])
            except BrokenFraming:
                self.force_close()
        super().data_received(data if end == OPEN else data[:end])
        return None if end == OPEN else data[end:]

    def _over(self) -> None:
        """Tell aiohttp that the answer is whole; it gives the connection back."""
        self._phase = Phase.OVER
        payload = self._payload
        if self._framing is None and payload is not None and not payload.is_eof():
            payload.feed_eof()
