"""The pool of connections."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.upstream.gemini.connection.aiohttp_client.handler import Handler
from gemini_backend.upstream.gemini.connection.aiohttp_client.lease import LEASE
from gemini_backend.upstream.gemini.connection.settling import Settling
from gemini_backend.upstream.gemini.connection.sockets import trusting, watched

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest, ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

    from gemini_backend.upstream.gemini.options import GeminiOptions


class Pool(aiohttp.TCPConnector):
    """aiohttp's pool, which hands a connection on only where its last answer is surely over.

    Connections have to settle before they are used again.

    `_factory`, `_get` and `_release` are aiohttp's own names, not meant for others: the tests fail
    where they no longer mean what they did.
    """

    def __init__(self, options: GeminiOptions, stray: Callable[[], None]) -> None:
        """Open nothing yet; `stray` is called when bytes come that nobody asked for."""
        keep = options.keepalive_seconds
        super().__init__(
            limit=options.max_connections,
            keepalive_timeout=keep if keep > 0 else None,
            force_close=keep <= 0,
            ssl=trusting(options.ca_file) if options.ca_file else True,
            socket_factory=watched(
                options.tcp_keepalive_time_seconds, options.tcp_keepalive_timeout_seconds
            ),
        )
        self._factory = partial(Handler, self._loop, self._stray)  # type: ignore[assignment]
        self._tell = stray
        self._settling = Settling(options.settle_seconds)

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own signature
    ) -> Connection:
        """Return a connection as the call in hand wants it."""
        connection = await super().connect(req, traces, timeout)
        if isinstance(connection.protocol, Handler):
            connection.protocol.hold(LEASE.get())
        return connection

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        """Return an idle connection; None where a fresh one is wanted.

        A fresh one takes the place of an idle one where there is room for no more.
        """
        if not LEASE.get().fresh:
            return await super()._get(key, traces)
        idle = self._conns.get(key)
        if idle and self._limit and len(self._acquired) + len(idle) >= self._limit:
            idle.popleft()[0].close()
            if not idle:
                del self._conns[key]
        return None

    def _release(
        self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False
    ) -> None:
        """Take a connection back; it is kept only where its answer is over.

        It counts as in use until it has settled.
        """
        release = partial(super()._release, key, protocol)
        if should_close or (isinstance(protocol, Handler) and not protocol.rest()):
            release(should_close=True)
            return
        seconds = 0.0 if self._force_close else self._settling.seconds(self._loop.time())
        if seconds:
            self._loop.call_later(seconds, release)
        else:
            release()

    def _stray(self, idle_seconds: float) -> None:
        """Take note that something came unasked on a connection that had been idle for so long."""
        self._tell()
        self._settling.stray(self._loop.time(), idle_seconds)
