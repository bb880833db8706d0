"""An answer gives its connection back exactly once.

Covers: upstream/gemini/connection/http1/transport.py
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

import pytest
from yarl import URL

from gemini_backend import errors
from gemini_backend.upstream.gemini.connection.http1 import Http1Transport
from gemini_backend.upstream.gemini.connection.http1.connection import Connection
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.upstream.gemini.connection.http1.test_pool import Dialer

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.http1.answer import Answer

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc"
API = URL("http://api.test/v1beta/models")


class Sending:
    """A transport whose connections a test answers."""

    def __init__(self) -> None:
        """Open nothing yet."""
        options = GeminiOptions(base_url="http://api.test", settle_seconds=0.0)
        self.transport = Http1Transport(options)
        self.dialer = Dialer()
        self.transport._make_pool()._dialer = self.dialer  # type: ignore[assignment]

    async def send(self, data: bytes, *, leave: bool = False) -> Answer:
        """Send a request and answer it."""
        pool = self.transport._pool
        assert pool is not None
        task = asyncio.create_task(self.transport.send("GET", API, {}, None, 5))
        while not (busy := [one for one in pool.open if one._waiter is not None]):
            await asyncio.sleep(0)
        busy[0].data_received(data)
        if leave:
            task.cancel()
        return await task


async def test_an_answer_tells_what_it_is() -> None:
    """Status, headers by any case, and the body."""
    sending = Sending()
    answer = await sending.send(WHOLE)
    assert (200, "a/b", "b", "") == (
        answer.status,
        answer.content_type,
        answer.header("x-A"),
        answer.header("x-none"),
    )
    assert answer.at_hand
    assert b"abc" == await answer.body(10)
    assert (True, False) == (answer.drained, answer.in_mid_chunk)


async def test_an_answer_is_counted_until_it_is_closed() -> None:
    """Once, however often it is closed."""
    sending = Sending()
    answer = await sending.send(WHOLE)
    assert 1 == sending.transport.connections()
    answer.close()
    answer.close()
    assert 0 == sending.transport.connections()


async def test_a_whole_answer_leaves_its_connection_to_others() -> None:
    """Closing it late closes nothing."""
    sending = Sending()
    first = await sending.send(WHOLE)
    second = await sending.send(WHOLE[:-1])
    first.close()
    assert 1 == sending.dialer.made
    pool = sending.transport._pool
    assert pool is not None
    assert 1 == len(pool.open)
    second.close()
    assert 0 == len(pool.open)


async def test_a_call_that_leaves_as_its_answer_comes_closes_nobody_elses_connection() -> None:
    """It is counted no longer, and what came whole is used again."""
    sending = Sending()
    with pytest.raises(asyncio.CancelledError):
        await sending.send(WHOLE, leave=True)
    assert 0 == sending.transport.connections()
    await sending.send(WHOLE)
    assert 1 == sending.dialer.made
    with pytest.raises(asyncio.CancelledError):
        await sending.send(WHOLE[:-1], leave=True)
    await sending.send(WHOLE)
    assert 2 == sending.dialer.made


async def test_a_packed_body_is_unpacked() -> None:
    """Although nobody asked for it."""
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b"abc" * 100) + packer.flush()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    answer = await Sending().send(head % len(packed) + packed)
    assert not await answer.is_page()
    assert b"abc" * 100 == await answer.body(1000)


async def test_a_body_that_cannot_be_unpacked_is_refused() -> None:
    """By name; nothing is counted any more."""
    sending = Sending()
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n"
    with pytest.raises(errors.MalformedAnswer, match="unsupported encoding"):
        await sending.send(head)
    assert 0 == sending.transport.connections()


async def test_an_answer_without_a_body_is_over() -> None:
    """At once."""
    answer = await Sending().send(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (b"", True) == (await answer.body(10), await answer.is_page())
    answer.put_back(b"")


async def test_a_connection_that_closes_before_the_request_is_replaced() -> None:
    """Without a further attempt."""
    sending = Sending()
    (await sending.send(WHOLE)).close()
    pool = sending.transport._pool
    assert pool is not None
    (idle,) = pool.idle()
    task = asyncio.create_task(sending.transport.send("GET", API, {}, None, 5))
    await asyncio.sleep(0)
    idle.connection_lost(None)
    while not (busy := [one for one in pool.open if one._waiter is not None]):
        await asyncio.sleep(0)
    busy[0].data_received(WHOLE)
    assert 200 == (await task).status
    assert 2 == sending.dialer.made


async def test_a_call_that_leaves_while_its_connection_settles_closes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has taken it from the pool, where nobody else would give it back."""
    sending = Sending()
    (await sending.send(WHOLE)).close()
    pool = sending.transport._pool
    assert pool is not None
    (idle,) = pool.idle()
    idle.encrypted = True
    monkeypatch.setattr(Connection, "pending", lambda _: True)
    task = asyncio.create_task(sending.transport.send("GET", API, {}, None, 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (True, 0, 0) == (idle.closed, len(pool.open), sending.transport.connections())


async def test_everything_is_closed_at_the_end() -> None:
    """Whoever waits for an answer is told."""
    sending = Sending()
    pool = sending.transport._pool
    assert pool is not None
    task = asyncio.create_task(sending.transport.send("GET", API, {}, None, 5))
    while not [one for one in pool.open if one._waiter is not None]:
        await asyncio.sleep(0)
    (connection,) = pool.open
    await sending.transport.aclose()
    connection.connection_lost(None)
    with pytest.raises(errors.Unreachable):
        await task
