"""Requests on pooled connections, closed the moment nobody wants the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import SILENT, ConnectionCondemned
from gemini_backend.upstream.gemini.connection.connect_errors import Destination
from gemini_backend.upstream.gemini.connection.dialing import Dialer, Origin
from gemini_backend.upstream.gemini.connection.http1.answer import Answer, NoBody
from gemini_backend.upstream.gemini.connection.http1.inflating import Inflating, packing_of
from gemini_backend.upstream.gemini.connection.http1.no_answer import (
    NoAnswer,
    UnusableConnection,
)
from gemini_backend.upstream.gemini.connection.http1.pool import Pool
from gemini_backend.upstream.gemini.connection.http1.request import request_head

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from yarl import URL

    from gemini_backend.errors import ServiceError
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.gemini.connection.http1.answer import Body
    from gemini_backend.upstream.gemini.connection.http1.connection import Answered, Connection
    from gemini_backend.upstream.gemini.connection.http1.head import Head
    from gemini_backend.upstream.gemini.connection.stream_tap import StreamTap
    from gemini_backend.upstream.gemini.options import GeminiOptions

_NO_BODY = NoBody()


class Http1Transport:
    """The pool and what is under way in it; made on first use, inside the running loop."""

    def __init__(self, options: GeminiOptions, bus: Publisher = SILENT) -> None:
        """Take the options that hold for the life of the pool.

        Each connection that is closed for what came on it unasked is published on `bus`.

        Raises:
            OSError: the file of authorities cannot be read, or holds no certificates.
        """
        self._options = options
        self._bus = bus
        self._dialer = Dialer(options)  # not within a call: it reads from disk whom TLS trusts
        self._origin = Origin.of(options.base_url)
        self._form = self._dialer.form(self._origin)
        if options.keepalive_seconds <= 0:
            close = ("Connection", "close")
            self._form = self._form._replace(headers=(*self._form.headers, close))
        self._pool: Pool | None = None
        self._under_way = 0

    async def send(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
        connect_timeout: float,
    ) -> Answer:
        """Send a request and wait for the head of its answer; see `Transport`."""
        self._under_way += 1
        try:
            pool = self._pool or self._make_pool()
            length = None if body is None else len(body)
            head = request_head(method, url, headers, length, self._form)
            connection = pool.take()
            if connection is None:
                connection = await pool.acquire(connect_timeout, self._under_way - 1)
            while True:
                used_before = connection.uses > 0
                try:
                    if used_before and connection.encrypted:
                        await _settled(connection)
                    waiter = _asked(connection, head, body)
                    try:
                        found, tap = await waiter
                        read = _NO_BODY if tap is None else _unpacked(tap, found)
                    except BaseException:
                        connection.leave(waiter)
                        raise
                    if not used_before:
                        pool.learn(connection)
                    return Answer(found, read, connection, self._leave)
                except NoAnswer as error:
                    if not (used_before and error.not_carried_out):
                        raise
                connection = await pool.acquire(connect_timeout, self._under_way - 1, fresh=True)
        except BaseException as error:
            self._under_way -= 1
            told = self._told(error, url, connect_timeout)
            if told is None:
                raise
            raise told from None

    def _told(self, error: BaseException, url: URL, seconds: float) -> ServiceError | None:
        """Return what the caller is told in place of a failure; None for the failure itself."""
        if isinstance(error, NoAnswer):
            return error.told(self._destination(url))
        if isinstance(error, TimeoutError):
            return self._destination(url).timed_out(seconds, self._under_way)
        return None

    def connections(self) -> int:
        """Return how many requests are under way."""
        return self._under_way

    async def aclose(self) -> None:
        """Close every connection, whatever it is doing."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.aclose()

    def _make_pool(self) -> Pool:
        self._pool = Pool(self._options, self._dialer, self._origin, self._stray)
        return self._pool

    def _destination(self, url: URL) -> Destination:
        where = f"{url.scheme}://{url.host_port_subcomponent}"
        return Destination(where, self._options.proxy)

    def _stray(self) -> None:
        self._bus.publish(ConnectionCondemned())

    def _leave(self) -> None:
        self._under_way -= 1


async def _settled(connection: Connection) -> None:
    """Let what is pending on a connection be read; it is closed if that is cancelled."""
    try:
        await connection.settled()
    except BaseException:
        connection.abort()
        raise


def _asked(connection: Connection, head: bytes, body: bytes | None) -> asyncio.Future[Answered]:
    """Write a request; return what will be its answer.

    Raises:
        UnusableConnection: the connection cannot be trusted with it, and is closed.
    """
    if not connection.usable():
        connection.abort()
        raise UnusableConnection
    return connection.ask(head, body)


def _unpacked(tap: StreamTap, head: Head) -> Body:
    """Return where a body is to be read.

    Raises:
        UnknownEncoding: it cannot be unpacked.
    """
    packing = packing_of(head.find(b"content-encoding"))
    return Inflating(tap, packing) if packing else tap
