"""The pool of connections to one origin."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from gemini_backend.upstream.gemini.connection.http1.connection import Connection
from gemini_backend.upstream.gemini.connection.settling import Settling

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.gemini.connection.dialing import Dialer, Origin
    from gemini_backend.upstream.gemini.options import GeminiOptions

_SHORTEST_SECONDS = 0.01


class Pool:
    """Opens connections, hands them on from call to call, and bounds how many there are.

    A connection has to settle before it is used again, and counts as in use until then. Calls
    beyond `max_connections` wait in the order in which they came. The connection that was used
    last is used first, so that those which are not needed stay idle and are closed.
    """

    def __init__(
        self, options: GeminiOptions, dialer: Dialer, origin: Origin, stray: Callable[[], None]
    ) -> None:
        """Open nothing yet; `stray` is called when bytes come that nobody asked for."""
        self._loop = asyncio.get_running_loop()
        self._dialer = dialer
        self._origin = origin
        self._tell = stray
        self._limit = options.max_connections
        self._keep_seconds = options.keepalive_seconds
        self._settling_time = Settling(options.settle_seconds)
        self._open: set[Connection] = set()
        self._dialing = 0  # connections that are being made, or that a call has been allowed to
        # in the order of their ends; those that were closed stay until their turn comes
        self._settling: deque[Connection] = deque()
        self._idle: deque[Connection] = deque()
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._ripening: asyncio.TimerHandle | None = None
        self._ended = False

    def take(self) -> Connection | None:
        """Return an idle connection without a wait; None where there is none to be had."""
        return None if self._waiting else self._take()

    async def acquire(self, seconds: float, others: int, *, fresh: bool = False) -> Connection:
        """Return an idle connection, or a fresh one, as soon as there is room for it.

        Args:
            seconds: How long it may take.
            others: How many requests are under way beside this one.
            fresh: Return only a connection that has not been in use before.

        Raises:
            TimeoutError: there was no room in time.
            Unreachable, ConnectTimeout, MalformedAnswer, OutOfDescriptors: there is none.
        """
        connection = None if fresh else self.take()
        if connection is not None:
            return connection
        if not self._waiting and (self._room() or self._evict()):
            self._dialing += 1
            return await self._dial(seconds, others)
        async with asyncio.timeout(seconds):
            connection = await self._turn()
            if connection is not None:
                if not fresh:
                    return connection
                self._dialing += 1  # a fresh one takes its place
                connection.abort()
            return await self._dial(seconds, others)

    def learn(self, connection: Connection) -> None:
        """Keep what a fresh connection has taught for the next one, now that it has answered."""
        self._dialer.learn(connection.transport)

    async def aclose(self) -> None:
        """Close every connection, whatever it is doing."""
        self._ended = True
        for connection in tuple(self._open):
            connection.abort()
        for timer in (self._expiry, self._ripening):
            if timer is not None:
                timer.cancel()
        await self._dialer.aclose()
        await asyncio.sleep(0)  # in which the loop closes the sockets

    def idle(self) -> list[Connection]:
        """Return the connections that may be used by the next call."""
        self._ripen()
        return [connection for connection in self._idle if not connection.closed]

    @property
    def open(self) -> frozenset[Connection]:
        """Return the connections that are open."""
        return frozenset(self._open)

    def opened(self, connection: Connection) -> None:
        """Take note of a connection that has been made."""
        self._open.add(connection)

    def ended(self, connection: Connection) -> None:
        """Take a connection back, whose answer has ended and which may be used again."""
        if self._keep_seconds <= 0:
            connection.abort()
            return
        seconds = self._settling_time.seconds(connection.idle_since)
        if seconds:
            connection.ready_at = connection.idle_since + seconds
            self._settling.append(connection)
        else:
            self._idle.append(connection)
        if self._waiting:
            self._serve()
        if self._expiry is None:
            self._expiry = self._loop.call_later(self._keep_seconds, self._expire)

    def gone(self, connection: Connection) -> None:
        """Take note that a connection is closed, which makes room for another."""
        if connection in self._open:
            self._open.remove(connection)
            if self._waiting:
                self._serve()

    def stray(self, idle_seconds: float) -> None:
        """Take note that something came unasked on a connection that had been idle for so long."""
        self._tell()
        self._settling_time.stray(self._loop.time(), idle_seconds)

    def _take(self) -> Connection | None:
        if self._settling:
            self._ripen()
        oldest = self._loop.time() - self._keep_seconds
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                if connection.idle_since >= oldest:
                    return connection
                connection.abort()
        return None

    def _ripen(self) -> None:
        """Make connections idle that have settled."""
        now = self._loop.time()
        while self._settling and (self._settling[0].ready_at <= now or self._settling[0].closed):
            self._idle.append(self._settling.popleft())

    def _room(self) -> bool:
        """Tell whether one more connection may be made."""
        return not self._limit or len(self._open) + self._dialing < self._limit

    def _evict(self) -> bool:
        """Close the connection that has been idle for longest; False where there is none."""
        self._ripen()
        while self._idle:
            connection = self._idle.popleft()
            if not connection.closed:
                connection.abort()
                return True
        return False

    async def _dial(self, seconds: float, others: int) -> Connection:
        """Return a fresh connection; room has been kept for it."""
        try:
            make = partial(Connection, self._loop, self)
            _, made = await self._dialer.dial(self._origin, make, seconds, others)
        finally:
            self._dialing -= 1
            if self._waiting:
                self._serve()
        if self._ended:
            made.abort()
        return made

    async def _turn(self) -> Connection | None:
        """Wait for an idle connection; None where there is room for a fresh one, which is kept."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiting.append(waiter)
        self._serve()
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._give_back(waiter.result())
            self._serve()
            raise

    def _give_back(self, connection: Connection | None) -> None:
        """Take back what a call was given that has left in the meantime."""
        if connection is None:
            self._dialing -= 1
        elif not connection.closed:
            self._idle.append(connection)

    def _serve(self) -> None:
        """Give those who wait what there is, the first one first."""
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.done():
                connection = self._take()
                if connection is None:
                    if not self._room():
                        break
                    self._dialing += 1
                waiter.set_result(connection)
            self._waiting.popleft()
        if self._waiting and self._settling and self._ripening is None:
            self._ripening = self._loop.call_at(self._settling[0].ready_at, self._ripe)

    def _ripe(self) -> None:
        self._ripening = None
        self._serve()

    def _expire(self) -> None:
        """Close the connections that have been idle for too long."""
        self._expiry = None
        self._ripen()
        oldest = self._loop.time() - self._keep_seconds
        while self._idle and (self._idle[0].closed or self._idle[0].idle_since <= oldest):
            self._idle.popleft().abort()
        left = self._idle or self._settling
        if left:
            seconds = max(_SHORTEST_SECONDS, left[0].idle_since - oldest)
            self._expiry = self._loop.call_later(seconds, self._expire)
