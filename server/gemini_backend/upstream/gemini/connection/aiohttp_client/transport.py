"""Connections to the model API: pooled, bounded, and closed the moment nobody wants the answer."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.sizes import KIB
from gemini_backend.telemetry.events import SILENT, ConnectionCondemned
from gemini_backend.upstream.gemini.connection.aiohttp_client.exchange import AiohttpExchange
from gemini_backend.upstream.gemini.connection.aiohttp_client.failures import no_answer
from gemini_backend.upstream.gemini.connection.aiohttp_client.handler import UnusableConnection
from gemini_backend.upstream.gemini.connection.aiohttp_client.lease import LEASE, Lease
from gemini_backend.upstream.gemini.connection.aiohttp_client.pool import Pool
from gemini_backend.upstream.gemini.connection.aiohttp_client.sending import Request
from gemini_backend.upstream.gemini.connection.connect_errors import HEAD_LIMIT
from gemini_backend.upstream.gemini.connection.sockets import path_died

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from yarl import URL

    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.gemini.options import GeminiOptions

_READ_BUFFER = 32 * KIB
"""Bytes of a body that may wait for a slow reader; at twice as many reading pauses."""
_LARGE_BODY = 512 * KIB
_REQUEST_TIMEOUT = 408


class AiohttpTransport:
    """aiohttp's pool and what is under way in it; made on first use, inside the running loop."""

    def __init__(self, options: GeminiOptions, bus: Publisher = SILENT) -> None:
        """Take the options that hold for the life of the pool.

        Each connection that is closed for what came on it unasked is published on `bus`.
        """
        self._options = options
        self._bus = bus
        self._session: aiohttp.ClientSession | None = None
        self._open: set[AiohttpExchange] = set()
        self._waiting = 0
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_timeout: float,
    ) -> AiohttpExchange:
        """Send a request and wait for the head of its answer; see `Transport`."""
        ask = partial(
            self._ask,
            method,
            url,
            headers=headers,
            body=body,
            limits=self._timeout(connect_timeout),
        )
        lease = Lease(fresh=False)
        self._waiting += 1
        try:
            response = await self._first(ask, lease)
            if response is None:
                lease = Lease(fresh=True)
                response = await ask(lease)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            others = self.connections() - 1
            raise no_answer(error, url, connect_timeout, others, self._options.proxy) from None
        finally:
            self._waiting -= 1
        exchange = AiohttpExchange(response, lease, self._leave)
        self._open.add(exchange)
        return exchange

    async def _first(
        self, ask: Callable[[Lease], Awaitable[aiohttp.ClientResponse]], lease: Lease
    ) -> aiohttp.ClientResponse | None:
        """Return the response on any connection; None where it takes a fresh one."""
        try:
            response = await ask(lease)
        except (aiohttp.ClientError, OSError) as error:
            if lease.reused and _went_away(error):
                return None
            raise
        if lease.reused and response.status == _REQUEST_TIMEOUT:
            # meant for a connection that had been idle for long; it crossed the request
            response.close()
            if lease.transport is not None:
                lease.transport.abort()
            return None
        return response

    async def _ask(
        self,
        method: str,
        url: URL,
        lease: Lease,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request once, on a connection that `lease` gets to know."""
        token = LEASE.set(lease)
        proxy = self._options.proxy
        tunnel_headers = None
        if proxy is not None and proxy.authorization:
            authorization = {"Proxy-Authorization": proxy.authorization}
            if url.scheme == "https":
                tunnel_headers = authorization
            else:
                headers = {**headers, **authorization}
        try:
            return await self._client().request(
                method,
                url,
                headers=headers,
                data=_in_pieces(body),
                timeout=limits,
                allow_redirects=False,
                proxy_headers=tunnel_headers,
            )
        except (aiohttp.ClientError, OSError, ValueError):
            raise
        except BaseException:
            # aiohttp closes the connection only when all that was written has left
            if lease.transport is not None:
                lease.transport.abort()
            raise
        finally:
            LEASE.reset(token)

    def _stray(self) -> None:
        self._bus.publish(ConnectionCondemned())

    def _leave(self, exchange: AiohttpExchange) -> bool:
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
            proxy = self._options.proxy
            self._session = aiohttp.ClientSession(
                proxy=None if proxy is None else proxy.address,
                connector=Pool(self._options, self._stray),
                request_class=Request,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
                headers={"User-Agent": "gemini-backend"},
                skip_auto_headers=("Accept",),
                # the bound on a head as a whole holds for each of its parts
                max_line_size=HEAD_LIMIT,
                max_field_size=HEAD_LIMIT,
                max_headers=HEAD_LIMIT,
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
    return body if body is None or len(body) <= _LARGE_BODY else _Body(body)


class _Body(BytesIO):
    """Bytes as a file of which aiohttp learns the size without copying them."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._body = body

    def getbuffer(self) -> memoryview:
        return memoryview(self._body)


def _went_away(error: Exception) -> bool:
    """Tell whether a used connection was of no use, and the request has not been carried out."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return not isinstance(error.message, aiohttp.http.RawResponseMessage)
    if isinstance(error, aiohttp.ClientOSError):
        return not isinstance(error, aiohttp.ClientConnectorError) and not path_died(error)
    return isinstance(error, UnusableConnection)
