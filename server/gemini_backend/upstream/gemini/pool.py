"""The pool of connections, and what one call gets out of it."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp

from gemini_backend.upstream.gemini.tap import TappedHandler

if TYPE_CHECKING:
    import asyncio

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from gemini_backend.upstream.gemini.options import GeminiOptions


class Lease:
    """What one call wants of a connection, and what it got.

    Attributes:
        fresh: It must not have been in use before.
        events: The answer is to be an event stream.
        reused: It has been in use before.
        handler: aiohttp's protocol of it.
        transport: The connection itself.
    """

    __slots__ = ("events", "fresh", "handler", "reused", "transport")

    def __init__(self, *, fresh: bool, events: bool) -> None:
        """Wish for a connection."""
        self.fresh = fresh
        self.events = events
        self.reused = False
        self.handler: ResponseHandler | None = None
        self.transport: asyncio.Transport | None = None


LEASE: ContextVar[Lease] = ContextVar("gemini_connection_lease")
"""The wish of the call in hand, for as long as it waits for its connection."""


class Pool(aiohttp.TCPConnector):
    """aiohttp's pool, which also says whether a connection has been in use before."""

    def __init__(self, options: GeminiOptions) -> None:
        """Open nothing yet."""
        keep = options.keepalive_seconds
        super().__init__(
            limit=options.max_connections,
            keepalive_timeout=keep if keep > 0 else None,
            force_close=keep <= 0,
        )
        # the one attribute here that aiohttp does not mean for others
        self._factory = partial(TappedHandler, loop=self._loop)  # type: ignore[assignment]
        self._used_before: WeakSet[ResponseHandler] = WeakSet()

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        """Return a connection as the call in hand wants it."""
        lease = LEASE.get()
        connection = await super().connect(req, traces, timeout)
        while lease.fresh and connection.protocol in self._used_before:
            connection.close()
            connection = await super().connect(req, traces, timeout)
        lease.transport = connection.transport
        lease.handler = handler = connection.protocol
        if handler is not None:
            lease.reused = handler in self._used_before
            self._used_before.add(handler)
            if isinstance(handler, TappedHandler):
                handler.arm(wanted=lease.events)
        return connection
