"""Connections are handed on, in order, and no more are open than are allowed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.errors import Unreachable
from gemini_backend.upstream.gemini.connection.dialing import Origin
from gemini_backend.upstream.gemini.connection.http1.pool import Pool
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.upstream.gemini.connection.http1.line import FakeTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.upstream.gemini.connection.http1.connection import Connection

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Dialer:
    """Makes connections to nowhere, at once or when it is let."""

    def __init__(self) -> None:
        """Let everything through."""
        self.made = 0
        self.learnt = 0
        self.let = asyncio.Event()
        self.let.set()
        self.fails = False

    async def dial(
        self, _origin: Origin, factory: Callable[[], Any], _seconds: float, _others: int
    ) -> tuple[Any, Any]:
        """Return a connection."""
        await self.let.wait()
        if self.fails:
            raise Unreachable("no")
        self.made += 1
        transport, protocol = FakeTransport(), factory()
        transport.protocol = protocol
        protocol.connection_made(transport)
        return transport, protocol

    def learn(self, _transport: Any) -> None:
        """Count."""
        self.learnt += 1

    async def aclose(self) -> None:
        """Do nothing."""


class Clock:
    """The event loop, with a time that the test sets and timers that it fires."""

    def __init__(self) -> None:
        """Begin at some time."""
        self._loop = asyncio.get_running_loop()
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        """Return the time."""
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of the loop's."""
        return self._loop.create_future()

    def call_soon(self, call: Callable[[], None]) -> Any:
        """Call soon."""
        return self._loop.call_soon(call)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Any:
        """Take note of a timer."""
        return self.call_at(self.now + seconds, call)

    def call_at(self, when: float, call: Callable[[], None]) -> Any:
        """Take note of a timer."""
        self.timers.append((when, call))
        return self._loop.call_later(1e6, call)

    def advance(self, seconds: float) -> None:
        """Let time pass, and fire what is due."""
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, call in due:
            call()


class Bench:
    """A pool, and what is around it."""

    def __init__(self, **options: Any) -> None:
        """Make a pool whose connections are used again at once, unless `options` say otherwise."""
        self.dialer = Dialer()
        self.strays = 0
        given = {"settle_seconds": 0.0, **options}
        dialer: Any = self.dialer
        self.pool = Pool(
            GeminiOptions(**given), dialer, Origin("api.test", 80, tls=False), self._stray
        )
        self.clock = Clock()
        clock: Any = self.clock
        self.pool._loop = clock

    def _stray(self) -> None:
        self.strays += 1

    async def acquire(self, *, fresh: bool = False, seconds: float = 5) -> Connection:
        """Return a connection."""
        return await self.pool.acquire(seconds, 0, fresh=fresh)


async def answered(connection: Connection) -> None:
    """Let a connection carry a request and its answer."""
    waiter = connection.ask(b"GET / HTTP/1.1\r\n\r\n", None)
    connection.data_received(WHOLE)
    await waiter


async def test_a_connection_is_used_again() -> None:
    """The one that was used last, first."""
    bench = Bench()
    first, second = await bench.acquire(), await bench.acquire()
    await answered(first)
    await answered(second)
    assert second is bench.pool.take()
    assert first is bench.pool.take()
    assert None is bench.pool.take()
    assert 2 == bench.dialer.made


async def test_a_connection_settles_before_it_is_used_again() -> None:
    """And for longer where something came unasked."""
    bench = Bench(settle_seconds=0.1)
    connection = await bench.acquire()
    await answered(connection)
    assert None is bench.pool.take()
    bench.clock.advance(0.11)
    assert connection is bench.pool.take()
    bench.pool.stray(0.0)
    await answered(connection)
    bench.clock.advance(0.11)
    assert None is bench.pool.take()
    bench.clock.advance(0.11)
    assert connection is bench.pool.take()
    assert 1 == bench.strays


async def test_idle_connections_are_closed_after_their_time() -> None:
    """By a timer, those that were needed in between excepted."""
    bench = Bench(keepalive_seconds=10)
    first, second = await bench.acquire(), await bench.acquire()
    await answered(first)
    bench.clock.advance(6)
    await answered(second)
    bench.clock.advance(5)
    assert (True, False) == (first.closed, second.closed)
    bench.clock.advance(6)
    assert second.closed
    assert frozenset() == bench.pool.open


async def test_a_connection_that_is_too_old_is_not_used() -> None:
    """Even where the timer has not come to it."""
    bench = Bench(keepalive_seconds=10)
    connection = await bench.acquire()
    await answered(connection)
    bench.clock.now += 11
    assert None is bench.pool.take()
    assert connection.closed


async def test_connections_need_not_be_kept() -> None:
    """With no time to keep them."""
    bench = Bench(keepalive_seconds=0)
    connection = await bench.acquire()
    await answered(connection)
    assert connection.closed


async def turns(number: int = 3) -> None:
    """Let others run."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_those_who_wait_are_served_in_order() -> None:
    """Nobody overtakes them, and no more connections are open than are allowed."""
    bench = Bench(max_connections=1)
    connection = await bench.acquire()
    order: list[int] = []

    async def call(number: int) -> None:
        got = await bench.acquire()
        order.append(number)
        await answered(got)

    calls = [asyncio.create_task(call(number)) for number in range(3)]
    await turns()
    await answered(connection)
    assert None is bench.pool.take()
    await asyncio.gather(*calls)
    assert ([0, 1, 2], 1) == (order, bench.dialer.made)


async def test_a_closed_connection_makes_room() -> None:
    """For a fresh one, for whoever waits."""
    bench = Bench(max_connections=1)
    connection = await bench.acquire()
    waiting = asyncio.create_task(bench.acquire())
    await turns()
    connection.abort()
    assert connection is not await waiting
    assert 1 == len(bench.pool.open)


async def test_a_failed_dial_makes_room() -> None:
    """For the next in line."""
    bench = Bench(max_connections=1)
    bench.dialer.let.clear()
    bench.dialer.fails = True
    calls = [asyncio.create_task(bench.acquire()) for _ in range(3)]
    await turns()
    bench.dialer.let.set()
    failed = await asyncio.gather(*calls, return_exceptions=True)
    assert [Unreachable] * 3 == [type(one) for one in failed]
    bench.dialer.fails = False
    assert not (await bench.acquire()).closed


async def test_what_settles_is_waited_for() -> None:
    """It counts as in use until then."""
    bench = Bench(max_connections=1, settle_seconds=0.1)
    connection = await bench.acquire()
    await answered(connection)
    waiting = asyncio.create_task(bench.acquire())
    await turns()
    assert not waiting.done()
    bench.clock.advance(0.1)
    assert connection is await waiting


async def test_a_fresh_connection_takes_the_place_of_an_idle_one() -> None:
    """Where there is room for no more: of the one that was idle for longest."""
    bench = Bench(max_connections=2)
    first, second = await bench.acquire(), await bench.acquire()
    await answered(first)
    await answered(second)
    made = await bench.acquire(fresh=True)
    assert (3, True, False) == (bench.dialer.made, first.closed, second.closed)
    assert frozenset({second, made}) == bench.pool.open


async def test_a_fresh_connection_takes_the_place_of_the_one_that_was_waited_for() -> None:
    """It is not handed on to a call that wants none which was in use."""
    bench = Bench(max_connections=1)
    connection = await bench.acquire()
    waiting = asyncio.create_task(bench.acquire(fresh=True))
    await turns()
    await answered(connection)
    made = await waiting
    assert (True, frozenset({made})) == (connection.closed, bench.pool.open)


async def test_waiting_has_an_end() -> None:
    """Whoever gave up takes nothing along."""
    bench = Bench(max_connections=1)
    connection = await bench.acquire()
    with pytest.raises(TimeoutError):
        await bench.acquire(seconds=0)
    await answered(connection)
    assert connection is bench.pool.take()


@pytest.mark.parametrize("close", [False, True])
async def test_what_was_given_to_a_call_that_left_is_given_to_the_next(*, close: bool) -> None:
    """A connection, or the room for one."""
    bench = Bench(max_connections=1)
    connection = await bench.acquire()
    leaving, staying = (asyncio.create_task(bench.acquire()) for _ in range(2))
    await turns()
    if close:
        connection.abort()
    else:
        await answered(connection)
    leaving.cancel()
    got = await staying
    assert (got is connection) is not close
    assert 1 == len(bench.pool.open)


async def test_bytes_on_an_idle_connection_close_it() -> None:
    """The next call has another one; it is told of."""
    bench = Bench()
    connection = await bench.acquire()
    await answered(connection)
    connection.data_received(b"x")
    assert None is bench.pool.take()
    assert (1, True) == (bench.strays, connection.closed)


async def test_what_is_dialled_while_the_pool_closes_is_closed() -> None:
    """As all others are."""
    bench = Bench()
    busy = await bench.acquire()
    bench.dialer.let.clear()
    dialling = asyncio.create_task(bench.acquire())
    await turns()
    await bench.pool.aclose()
    bench.dialer.let.set()
    assert (True, True) == (busy.closed, (await dialling).closed)


async def test_what_a_connection_has_taught_is_kept() -> None:
    """The dialer is told."""
    bench = Bench()
    bench.pool.learn(await bench.acquire())
    assert 1 == bench.dialer.learnt
