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
    from collections.abc import Mapping

    from yarl import URL

    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.upstream.gemini.connection.http1.answer import Body
    from gemini_backend.upstream.gemini.connection.http1.connection import Connection
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
            used_before = connection.uses > 0
            try:
                return await self._ask(pool, connection, head, body)
            except NoAnswer as error:
                if not (used_before and error.not_carried_out):
                    raise
            connection = await pool.acquire(connect_timeout, self._under_way - 1, fresh=True)
            return await self._ask(pool, connection, head, body)
        except BaseException as error:
            self._under_way -= 1
            if isinstance(error, NoAnswer):
                raise error.told(self._destination(url)) from None
            if isinstance(error, TimeoutError):
                others = self._under_way
                raise self._destination(url).timed_out(connect_timeout, others) from None
            raise

    async def _ask(
        self, pool: Pool, connection: Connection, head: bytes, body: bytes | None
    ) -> Answer:
        """Send a request once.

        Raises:
            NoAnswer: none came.
        """
        fresh = not connection.uses
        if connection.encrypted and not fresh:
            try:
                await connection.settled()
            except BaseException:
                connection.abort()
                raise
        if not connection.usable():
            connection.abort()
            raise UnusableConnection
        waiter = connection.ask(head, body)
        try:
            found, tap = await waiter
            read = _NO_BODY if tap is None else _unpacked(tap, found)
        except BaseException:
            connection.leave(waiter)
            raise
        if fresh:
            pool.learn(connection)
        return Answer(found, read, connection, self._leave)

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


def _unpacked(tap: StreamTap, head: Head) -> Body:
    """Return where a body is to be read.

    Raises:
        UnknownEncoding: it cannot be unpacked.
    """
    packing = packing_of(head.find(b"content-encoding"))
    return Inflating(tap, packing) if packing else tap
