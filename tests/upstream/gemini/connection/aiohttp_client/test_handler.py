"""Bytes count between a request and the end of its answer, and at no other time.

Covers: upstream/gemini/connection/aiohttp_client/lease.py
"""

from __future__ import annotations

import asyncio
import itertools
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini_backend.upstream.gemini.connection.aiohttp_client.handler import (
    Handler,
    HeadTooLarge,
    UnusableConnection,
)
from gemini_backend.upstream.gemini.connection.aiohttp_client.lease import Lease
from gemini_backend.upstream.gemini.connection.aiohttp_client.sending import _settled
from gemini_backend.upstream.gemini.connection.connect_errors import HEAD_LIMIT

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
STRAY = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"


class FakeTransport:
    """Notes what becomes of it."""

    def __init__(self) -> None:
        """Be open, with all that was written sent."""
        self.closing = False
        self.unsent = 0

    def get_extra_info(self, _name: str) -> None:
        """Know nothing of a socket."""

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait to be sent."""
        return self.unsent

    def is_closing(self) -> bool:
        """Tell whether it is closed."""
        return self.closing

    def close(self) -> None:
        """Close."""
        self.closing = True

    def abort(self) -> None:
        """Close."""
        self.closing = True

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""


class Line:
    """A connection that a test plays the other side of."""

    def __init__(self) -> None:
        """Connect."""
        self.strays = 0
        self.handler = Handler(asyncio.get_running_loop(), self._stray)
        self.transport = FakeTransport()
        transport: Any = self.transport
        self.handler.connection_made(transport)
        self.lease = Lease(fresh=False)

    def _stray(self, _idle_seconds: float) -> None:
        self.strays += 1

    def hold(self) -> None:
        """Give it to a call, as aiohttp's pool does."""
        self.lease = Lease(fresh=False)
        self.handler.hold(self.lease)
        limits = dict.fromkeys(("max_line_size", "max_field_size", "max_headers"), HEAD_LIMIT)
        self.handler.set_response_params(read_until_eof=True, **limits)

    def ask(self) -> None:
        """Hold it, and write a request."""
        self.hold()
        assert self.handler.claim()
        self.handler.sent = True

    async def status(self) -> int:
        """Return the status of the answer, once its head has come."""
        while True:
            head, _ = await self.handler.read()
            if head.code >= 200:
                return head.code

    async def answer(self) -> tuple[int, bytes]:
        """Return status and body of the answer, and give the connection back."""
        status, body = await self.status(), b""
        if self.lease.tap is not None:
            while piece := await self.lease.tap.read():
                body += piece
        return status, body

    def kept(self) -> bool:
        """Give it back; tell whether it may be used again."""
        return self.handler.rest() and not self.transport.closing


async def used() -> Line:
    """Return a connection that has had an answer, and is idle."""
    line = Line()
    line.ask()
    line.handler.data_received(WHOLE)
    assert (200, b"abc") == await line.answer()
    assert line.kept()
    return line


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (WHOLE, (200, b"abc")),
        (CHUNKED, (200, b"abc")),
        (EMPTY, (200, b"")),
        (NO_CONTENT, (204, b"")),
        (EARLY_HINTS + CHUNKED, (200, b"abc")),
        (EARLY_HINTS * 2 + EMPTY, (200, b"")),
        (b"\r\n\r\n" + WHOLE, (200, b"abc")),
        (b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", (200, b"abc")),
    ],
)
@pytest.mark.parametrize("pieces", [1, 2, 3, 1000])
async def test_an_answer_leaves_a_connection_to_use_again(
    answer: bytes, expected: tuple[int, bytes], pieces: int
) -> None:
    """Whatever its framing and however it is cut, and whatever informational heads precede it."""
    line = Line()
    for _ in range(3):
        line.ask()
        step = -(-len(answer) // pieces)
        for at in range(0, len(answer), step):
            line.handler.data_received(answer[at : at + step])
        assert expected == await line.answer()
        assert line.kept()
    assert 0 == line.strays


@pytest.mark.parametrize("stray", [WHOLE, CHUNKED, STRAY, b"HTTP/1.1 2", b"\r\n", b"\x00"])
async def test_bytes_on_an_idle_connection_condemn_it(stray: bytes) -> None:
    """At once, whatever they are, and they are told of once."""
    line = await used()
    line.handler.data_received(stray)
    line.handler.data_received(stray)
    assert line.transport.closing
    assert 1 == line.strays


async def test_bytes_between_the_pool_and_the_request_condemn_it() -> None:
    """The connection is held, and nothing has been written: it is not to be."""
    line = await used()
    line.hold()
    line.handler.data_received(STRAY)
    assert not line.handler.claim()
    assert line.transport.closing


async def test_bytes_before_the_first_call_condemn_it() -> None:
    """A server that speaks first does not speak HTTP."""
    line = Line()
    line.handler.data_received(b"220 mail.test ESMTP\r\n")
    line.hold()
    assert not line.handler.claim()


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, EMPTY, NO_CONTENT, EARLY_HINTS + WHOLE])
@pytest.mark.parametrize("surplus", [WHOLE, STRAY, b"HTTP/1.1 2", b"\r\n", b"x"])
@pytest.mark.parametrize("apart", [False, True])
async def test_bytes_behind_an_answer_condemn_the_connection_not_the_answer(
    answer: bytes, surplus: bytes, *, apart: bool
) -> None:
    """In the same read as its end, or in the next one before it has been taken."""
    line = Line()
    line.ask()
    for read in (answer, surplus) if apart else (answer + surplus,):
        line.handler.data_received(read)
    expected = (204, b"") if answer is NO_CONTENT else (200, b"" if answer is EMPTY else b"abc")
    assert expected == await line.answer()
    assert not line.kept()
    assert 1 == line.strays


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    answer=st.sampled_from([WHOLE, CHUNKED, EMPTY]),
    surplus=st.binary(min_size=1, max_size=60),
    places=st.lists(st.integers(0, 200), max_size=6),
)
def test_no_byte_behind_an_answer_is_overlooked(
    answer: bytes, surplus: bytes, places: list[int]
) -> None:
    """However answer and surplus are cut into reads."""

    async def play() -> tuple[tuple[int, bytes], bool, int]:
        line = Line()
        line.ask()
        data = answer + surplus
        edges = [0, *sorted(place % len(data) for place in places), len(data)]
        for a, b in itertools.pairwise(edges):
            line.handler.data_received(data[a:b])
        return await line.answer(), line.kept(), line.strays

    expected = (200, b"" if answer is EMPTY else b"abc")
    assert (expected, False, 1) == asyncio.run(play())


async def test_a_compressed_body_ends_where_it_ends() -> None:
    """It is unpacked elsewhere; what follows condemns the connection all the same."""
    packed = zlib.compress(b"abc" * 100)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n"
    for surplus, kept in ((b"", True), (STRAY, False)):
        line = Line()
        line.ask()
        line.handler.data_received(head % len(packed) + packed + surplus)
        _, payload = await line.handler.read()
        assert b"abc" * 100 == await payload.read()
        assert kept is line.kept()


async def test_a_connection_is_kept_only_after_its_answer() -> None:
    """Not before one, in the middle of one, or where the other side will close it."""
    line = Line()
    line.ask()
    assert not line.kept()
    line.handler.data_received(WHOLE[:-1])
    assert not line.kept()
    line.handler.data_received(b"c")
    await line.answer()
    assert line.kept()
    line.ask()
    line.handler.data_received(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    await line.answer()
    assert not line.kept()


async def test_an_answer_to_half_a_request_is_not_believed_on_a_used_connection() -> None:
    """It may be what was left of an earlier one; the request goes out again elsewhere."""
    line = await used()
    line.hold()
    assert line.handler.claim()
    line.transport.unsent = 10
    line.handler.data_received(WHOLE)
    with pytest.raises(UnusableConnection):
        await line.handler.read()
    assert line.transport.closing


async def test_an_answer_to_half_a_request_is_taken_on_a_fresh_connection() -> None:
    """Such as a 413; what is left of the request makes the connection unfit for another."""
    line = Line()
    line.hold()
    assert line.handler.claim()
    line.handler.data_received(WHOLE.replace(b"200", b"413"))
    assert (413, b"abc") == await line.answer()
    assert not line.kept()


async def test_headers_may_be_large() -> None:
    """One of 60 kB, or hundreds."""
    for headers in (b"X-A: " + b"x" * 60_000 + b"\r\n", b"X-A: b\r\n" * 1000):
        line = Line()
        line.ask()
        line.handler.data_received(WHOLE.replace(b"Content-L", headers + b"Content-L"))
        assert (200, b"abc") == await line.answer()


@pytest.mark.parametrize("piece", [b"X-A: b\r\n" * 100, b"x" * 1000, EARLY_HINTS * 20])
async def test_headers_are_bounded(piece: bytes) -> None:
    """As lines, as one line, and as informational heads without end."""
    line = Line()
    line.ask()
    line.handler.data_received(b"HTTP/1.1 103 Early Hints\r\nX-A: b")
    line.handler.data_received(b"\r\n\r\n" if piece.startswith(b"HTTP") else b"\r\nX-B: ")
    sent = 0
    while not line.transport.closing and sent <= HEAD_LIMIT:
        line.handler.data_received(piece)
        sent += len(piece)
    assert line.transport.closing
    assert isinstance(line.handler.exception(), HeadTooLarge)


async def test_informational_heads_are_counted() -> None:
    """However many come in one read."""
    line = Line()
    line.ask()
    line.handler.data_received(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)
    assert isinstance(line.handler.exception(), HeadTooLarge)


async def test_the_kernel_is_asked_before_a_request_is_written() -> None:
    """What it has, and the event loop has not read, condemns a plain connection."""
    line = await used()
    line.hold()
    line.handler._poll = Pending()  # type: ignore[assignment]
    assert not line.handler.claim()


@pytest.mark.parametrize(("encrypted", "fresh"), [(True, True), (True, False), (False, True)])
async def test_a_ticket_on_a_fresh_encrypted_connection_is_no_stray(
    *, encrypted: bool, fresh: bool
) -> None:
    """Only there bytes of the kernel's may be no data, and cannot be an earlier answer."""
    line = Line() if fresh else await used()
    line.hold()
    line.handler.encrypted = encrypted
    line.handler._poll = Pending()  # type: ignore[assignment]
    assert (encrypted and fresh) is line.handler.claim()


@pytest.mark.parametrize(("turns", "usable"), [(0, True), (1, True), (2, True), (99, False)])
async def test_what_is_pending_on_a_used_encrypted_connection_is_read_first(
    turns: int, *, usable: bool
) -> None:
    """A ticket does no harm: once it has been read nothing is pending. What stays is no ticket."""
    line = await used()
    line.hold()
    line.handler.encrypted = True
    line.handler._poll = Pending(turns)  # type: ignore[assignment]
    await _settled(line.handler)
    assert usable is line.handler.claim()


class Pending:
    """A poll that finds something for so many times."""

    def __init__(self, times: int = 1) -> None:
        """Find something."""
        self._times = times

    def poll(self, _timeout: int) -> list[tuple[int, int]]:
        """Return an event, or none."""
        self._times -= 1
        return [(0, 1)] if self._times >= 0 else []
