"""A connection that a test plays the other side of; no socket."""

from __future__ import annotations

import asyncio
from typing import Any

from gemini_backend.upstream.gemini.connection.http1.connection import Connection


class FakeTransport:
    """Notes what becomes of it; all that is written is sent at once, unless it is stuck."""

    def __init__(self) -> None:
        """Be open."""
        self.protocol: Any = None
        self.closing = False
        self.reading = True
        self.stuck = False
        self.written: list[bytes] = []
        self.unsent = 0

    def get_extra_info(self, _name: str) -> None:
        """Know nothing of a socket."""

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait to be sent."""
        return self.unsent

    def write(self, data: bytes) -> None:
        """Send, or keep; a full buffer is told of."""
        self.written.append(bytes(data))
        if self.stuck:
            self.unsent += len(data)
            if self.unsent > 64 * 1024:
                self.protocol.pause_writing()

    def flush(self) -> None:
        """Send what was kept, and ask for more."""
        self.unsent = 0
        self.protocol.resume_writing()

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        return self.closing

    def abort(self) -> None:
        """Close."""
        self.closing = True

    def pause_reading(self) -> None:
        """Stop."""
        self.reading = False

    def resume_reading(self) -> None:
        """Go on."""
        self.reading = True


class Line:
    """A connection, its other side, and its owner."""

    def __init__(self) -> None:
        """Connect."""
        self.strays: list[float] = []
        self.kept = 0
        self.lost = 0
        owner: Any = self
        self.connection = Connection(asyncio.get_running_loop(), owner)
        self.transport = FakeTransport()
        self.transport.protocol = self.connection
        transport: Any = self.transport
        self.connection.connection_made(transport)
        self.waiter: Any = None

    def opened(self, connection: Connection) -> None:
        """Take note, as its owner."""

    def ended(self, connection: Connection) -> None:
        """Take note, as its owner."""
        self.kept += 1

    def gone(self, connection: Connection) -> None:
        """Take note, as its owner."""
        self.lost += 1

    def stray(self, idle_seconds: float) -> None:
        """Take note, as its owner."""
        self.strays.append(idle_seconds)

    def ask(self, body: bytes | None = None) -> None:
        """Write a request."""
        assert self.connection.usable()
        self.waiter = self.connection.ask(b"POST / HTTP/1.1\r\n\r\n", body)

    def say(self, data: bytes, pieces: int = 1) -> None:
        """Play the other side: send these bytes in so many reads."""
        step = -(-len(data) // pieces)
        for at in range(0, len(data), step):
            self.connection.data_received(data[at : at + step])

    async def answer(self) -> tuple[int, bytes]:
        """Return status and body of the answer."""
        head, tap = await self.waiter
        body = b""
        while tap is not None and (piece := await tap.read()):
            body += piece
        return head.status, body
