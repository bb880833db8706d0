"""What one call wants of a connection, and what it got."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap


class Lease:
    """The use of a connection for one request and its answer.

    Attributes:
        fresh: Wish for a connection that has not been in use before.
        reused: The connection has been in use before.
        transport: The connection itself; None before there is one.
        tap: The body of the answer; None before its head has come, where there is no body, and
            where aiohttp unpacks it.
    """

    __slots__ = ("fresh", "reused", "tap", "transport")

    def __init__(self, *, fresh: bool) -> None:
        """Wish for a connection."""
        self.fresh = fresh
        self.reused = False
        self.transport: asyncio.Transport | None = None
        self.tap: StreamTap | None = None


LEASE: ContextVar[Lease] = ContextVar("gemini_connection_lease")
"""The lease of the call in hand, for as long as it waits for the head of its answer."""
