"""Connections to the model API: pooled, bounded, and closed the moment nobody wants the answer."""

from __future__ import annotations

from contextvars import ContextVar
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING
from weakref import WeakSet

import aiohttp

from gemini_backend.errors import AnswerTooLarge, StreamCut
from gemini_backend.upstream.gemini.broken import no_answer
from gemini_backend.upstream.gemini.tap import TappedHandler

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace
    from yarl import URL

    from gemini_backend.upstream.gemini.options import GeminiOptions

_READ_BUFFER = 32 * 1024
"""Bytes of a stream that may wait here for a slow reader; at twice as many reading pauses, and TCP
slows the model API down."""


_LARGE_BODY = 512 * 1024


class _Lease:
    """What became of one call's wish for a connection."""

    __slots__ = ("events", "fresh", "handler", "reused", "transport")

    def __init__(self, *, fresh: bool, events: bool) -> None:
        self.fresh = fresh
        self.events = events  # the answer is to be an event stream
        self.reused = False
        self.handler: ResponseHandler | None = None
        self.transport: asyncio.Transport | None = None


_LEASE: ContextVar[_Lease] = ContextVar("gemini_connection_lease")


class _Pool(aiohttp.TCPConnector):
    """aiohttp's pool, which also says whether a connection has been in use before."""

    def __init__(self, options: GeminiOptions) -> None:
        super().__init__(
            limit=options.max_connections,
            keepalive_timeout=options.keepalive_seconds,
            force_close=options.keepalive_seconds <= 0,
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
        lease = _LEASE.get()
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


class Exchange:
    """One request that has got the head of its answer."""

    __slots__ = ("_owner", "_read", "_response", "_transport", "content_type", "status")

    def __init__(self, owner: Transport, response: aiohttp.ClientResponse, lease: _Lease) -> None:
        """Hold a response until it is read to its end, or closed."""
        self._owner = owner
        self._response = response
        self._transport = lease.transport
        tap = lease.handler.tap if isinstance(lease.handler, TappedHandler) else None
        self._read = response.content.readany if tap is None else tap.read
        self.status = response.status
        self.content_type = response.headers.get("Content-Type", "")

    def header(self, name: str) -> str:
        """Return a header of the answer, empty where it is not there."""
        return self._response.headers.get(name, "")

    async def read(self) -> bytes:
        """Return what has come of the body; empty at its end.

        Raises:
            StreamCut: the connection broke off before the end.
        """
        try:
            return await self._read()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: a chunk or a compressed block that cannot be unpacked
            name = type(error).__name__
            msg = f"the connection to the model API broke off in mid-answer ({name}); try again"
            raise StreamCut(msg) from None

    async def body(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            AnswerTooLarge: it is larger than `limit` bytes, unpacked.
            StreamCut: the connection broke off before the end.
        """
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            size += len(piece)
            if size > limit:
                msg = (
                    f"the answer is larger than {limit} bytes; ask for less, or raise "
                    "upstream.gemini.max_body_bytes"
                )
                raise AnswerTooLarge(msg)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def beginning(self, limit: int) -> bytes:
        """Return at most `limit` bytes of the body, whatever comes after or breaks off."""
        found = b""
        try:
            while len(found) < limit and (piece := await self.read()):
                found += piece
        except StreamCut:
            pass  # what came is what there is to look at
        return found[:limit]

    def close(self) -> None:
        """Give the connection up; it is closed at once unless the answer was read to its end."""
        if self._owner.leave(self) and self._response.connection is not None:
            self._response.close()
            if self._transport is not None:
                self._transport.abort()


class Transport:
    """The pool and what is under way in it; made on first use, inside the running loop."""

    def __init__(self, options: GeminiOptions) -> None:
        """Take the options that hold for the life of the pool."""
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self._open: set[Exchange] = set()
        self._waiting = 0
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_timeout: float,
        *,
        events: bool = False,
    ) -> Exchange:
        """Send a request and wait for the head of its answer, which may be an event stream.

        A kept-alive connection that the other side had closed meanwhile is replaced once by a fresh
        one: not a byte of an answer had come, so nothing can have been done twice.

        Raises:
            Unreachable, ConnectTimeout, MalformedAnswer: no answer came.
        """
        timeout = self._timeout(connect_timeout)
        fresh = False
        self._waiting += 1
        try:
            while True:
                lease = _Lease(fresh=fresh, events=events)
                token = _LEASE.set(lease)
                try:
                    response = await self._client().request(
                        method,
                        url,
                        headers=headers,
                        data=_in_pieces(body),
                        timeout=timeout,
                        allow_redirects=False,
                    )
                except (aiohttp.ClientError, OSError, ValueError) as error:
                    if lease.reused and not fresh and _went_away(error):
                        fresh = True
                        continue
                    in_use = self.connections() - 1
                    raise no_answer(error, url, connect_timeout, in_use) from None
                except BaseException:
                    # aiohttp closes the connection only when all that was written has left
                    if lease.transport is not None:
                        lease.transport.abort()
                    raise
                finally:
                    _LEASE.reset(token)
                exchange = Exchange(self, response, lease)
                self._open.add(exchange)
                return exchange
        finally:
            self._waiting -= 1

    def leave(self, exchange: Exchange) -> bool:
        """Take an exchange out of the count; False when that had been done before."""
        if exchange in self._open:
            self._open.remove(exchange)
            return True
        return False

    def connections(self) -> int:
        """Return how many requests are under way."""
        return len(self._open) + self._waiting

    async def aclose(self) -> None:
        """Close every connection, whatever it is doing."""
        for exchange in tuple(self._open):
            exchange.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Pool(self._options),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
                headers={"User-Agent": "gemini-backend"},
                skip_auto_headers=("Accept",),
            )
        return self._session

    def _timeout(self, connect: float) -> aiohttp.ClientTimeout:
        found = self._timeouts.get(connect)
        if found is None:
            found = aiohttp.ClientTimeout(total=None, connect=connect, sock_connect=connect)
            self._timeouts = {connect: found}
        return found


def _in_pieces(body: bytes | None) -> bytes | BytesIO | None:
    """Return a large body as a file, which is written as fast as the other side reads."""
    return body if body is None or len(body) <= _LARGE_BODY else BytesIO(body)


def _went_away(error: Exception) -> bool:
    """Tell whether the other side closed the connection without a byte of an answer."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return not isinstance(error.message, aiohttp.http.RawResponseMessage)
    return isinstance(error, aiohttp.ClientOSError) and not isinstance(
        error, aiohttp.ClientConnectorError
    )
