"""Connections to the model API: pooled, bounded, and closed the moment nobody wants the answer."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING

import aiohttp

from gemini_backend.upstream.gemini.broken import no_answer
from gemini_backend.upstream.gemini.exchange import Exchange
from gemini_backend.upstream.gemini.pool import LEASE, Lease, Pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

    from gemini_backend.upstream.gemini.options import GeminiOptions

_READ_BUFFER = 32 * 1024
"""Bytes of a body that may wait for a slow reader; at twice as many reading pauses."""
_LARGE_BODY = 512 * 1024


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
        ask = partial(
            self._ask,
            method,
            url,
            headers=headers,
            body=body,
            limits=self._timeout(connect_timeout),
        )
        lease = Lease(fresh=False, events=events)
        self._waiting += 1
        try:
            try:
                response = await ask(lease)
            except (aiohttp.ClientError, OSError) as error:
                if not (lease.reused and _went_away(error)):
                    raise
                lease = Lease(fresh=True, events=events)
                response = await ask(lease)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise no_answer(error, url, connect_timeout, self.connections() - 1) from None
        finally:
            self._waiting -= 1
        exchange = Exchange(response, lease, self._leave)
        self._open.add(exchange)
        return exchange

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
        try:
            return await self._client().request(
                method,
                url,
                headers=headers,
                data=_in_pieces(body),
                timeout=limits,
                allow_redirects=False,
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

    def _leave(self, exchange: Exchange) -> bool:
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
                connector=Pool(self._options),
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
