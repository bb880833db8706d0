"""Bytes count between a request and the end of its answer, and at no other time."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.errors import StreamCut
from gemini_backend.upstream.gemini.connection.connect_errors import HEAD_LIMIT
from gemini_backend.upstream.gemini.connection.http1.no_answer import (
    HeadTooLarge,
    HungUp,
    NotHttp,
    UnusableConnection,
)
from tests.upstream.gemini.connection.http1.line import Line

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
STRAY = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
TRAILERS = CHUNKED[:-2] + b"X-A: 1\r\nX-B: 2\r\n\r\n"
LARGE = b"x" * 1_000_000


async def used() -> Line:
    """Return a connection that has had an answer, and is idle."""
    line = Line()
    line.ask()
    line.say(WHOLE)
    assert (200, b"abc") == await line.answer()
    assert 1 == line.kept
    return line


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (WHOLE, (200, b"abc")),
        (CHUNKED, (200, b"abc")),
        (TRAILERS, (200, b"abc")),
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
    for number in range(1, 4):
        line.ask()
        line.say(answer, pieces)
        assert expected == await line.answer()
        assert (number, []) == (line.kept, line.strays)


@pytest.mark.parametrize("stray", [WHOLE, CHUNKED, STRAY, b"HTTP/1.1 2", b"\r\n", b"\x00"])
async def test_bytes_on_an_idle_connection_condemn_it(stray: bytes) -> None:
    """At once, whatever they are, and they are told of once."""
    line = await used()
    line.say(stray)
    line.say(stray)
    assert line.transport.closing
    assert not line.connection.usable()
    assert 1 == len(line.strays)


async def test_bytes_before_the_first_call_condemn_it() -> None:
    """A server that speaks first does not speak HTTP."""
    line = Line()
    line.say(b"220 mail.test ESMTP\r\n")
    assert not line.connection.usable()


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
        line.say(read)
    expected = (204, b"") if answer is NO_CONTENT else (200, b"" if answer is EMPTY else b"abc")
    assert expected == await line.answer()
    assert (True, 1) == (line.transport.closing, len(line.strays))


@given(
    answer=st.sampled_from([WHOLE, CHUNKED, TRAILERS, EMPTY]),
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
            if a < b:
                line.say(data[a:b])
        return await line.answer(), line.transport.closing, len(line.strays)

    expected = (200, b"" if answer is EMPTY else b"abc")
    assert (expected, True, 1) == asyncio.run(play())


@given(reads=st.lists(st.binary(min_size=1, max_size=60), max_size=6))
def test_whatever_comes_in_place_of_an_answer_is_no_defect(reads: list[bytes]) -> None:
    """It is refused, or waited on; the caller has a typed failure when the connection ends."""

    async def play() -> object:
        line = Line()
        line.ask()
        for read in reads:
            if not line.transport.closing:
                line.say(read)
        line.connection.connection_lost(None)
        return line.waiter.exception()

    assert isinstance(asyncio.run(play()), HungUp | NotHttp)


@pytest.mark.parametrize("more", [b"Connection: close\r\n", b"Connection: x, Close\r\n"])
async def test_a_connection_that_the_other_side_closes_is_not_kept(more: bytes) -> None:
    """As it announces."""
    line = Line()
    line.ask()
    line.say(WHOLE.replace(b"Content", more + b"Content"))
    assert (200, b"abc") == await line.answer()
    assert (0, True) == (line.kept, line.transport.closing)


async def test_a_timeout_that_crosses_the_request_is_not_its_answer() -> None:
    """A 408 on a used connection; on a fresh one it is an answer."""
    line = await used()
    line.ask()
    line.say(STRAY)
    with pytest.raises(UnusableConnection):
        await line.answer()
    fresh = Line()
    fresh.ask()
    fresh.say(STRAY)
    assert (408, b"") == await fresh.answer()


async def test_an_answer_to_half_a_request_is_not_believed_on_a_used_connection() -> None:
    """It may be what was left of an earlier one; the request goes out again elsewhere."""
    line = await used()
    line.transport.stuck = True
    line.ask(LARGE)
    line.say(WHOLE)
    with pytest.raises(UnusableConnection):
        await line.answer()
    assert line.transport.closing


@pytest.mark.parametrize(("status", "goes_on"), [(b"413", False), (b"200", True)])
async def test_an_answer_to_half_a_request_is_taken_on_a_fresh_connection(
    status: bytes, *, goes_on: bool
) -> None:
    """A refusal ends the upload, another answer does not; the connection is not used again."""
    line = Line()
    line.transport.stuck = True
    line.ask(LARGE)
    head, body = WHOLE.replace(b"200", status)[:-3], b"abc"
    line.say(head)
    before = len(line.transport.written)
    line.transport.flush()
    assert goes_on is (len(line.transport.written) > before)
    line.say(body)
    assert (int(status), b"abc") == await line.answer()
    assert (0, True) == (line.kept, line.transport.closing)


async def test_an_informational_head_does_not_end_an_upload() -> None:
    """The rest is awaited."""
    line = Line()
    line.transport.stuck = True
    line.ask(LARGE)
    line.say(b"HTTP/1.1 100 Continue\r\n\r\n")
    while sum(map(len, line.transport.written)) < len(LARGE):
        line.transport.flush()
        await asyncio.sleep(0)
    line.transport.unsent = 0
    line.say(WHOLE)
    assert (200, b"abc") == await line.answer()


async def test_a_large_request_is_written_as_fast_as_it_is_read() -> None:
    """No more than a buffer waits, and all of it arrives; a small one is one piece."""
    line = Line()
    line.transport.stuck = True
    line.ask(LARGE)
    assert line.transport.unsent < 3 * 64 * 1024
    while sum(map(len, line.transport.written)) < len(LARGE):
        line.transport.flush()
        assert line.transport.unsent < 3 * 64 * 1024
    assert LARGE == b"".join(line.transport.written).partition(b"\r\n\r\n")[2]
    small = Line()
    small.ask(b"abc")
    assert [b"POST / HTTP/1.1\r\n\r\nabc"] == small.transport.written


async def test_other_work_has_its_turn_within_a_large_request() -> None:
    """However fast the other side reads."""
    line = Line()
    line.ask(LARGE * 3)
    assert sum(map(len, line.transport.written)) < 2_000_000
    while sum(map(len, line.transport.written)) < len(LARGE) * 3:
        await asyncio.sleep(0)


async def test_whoever_leaves_closes_the_connection() -> None:
    """At once, what was not sent included; not where the answer has come whole."""
    line = Line()
    line.transport.stuck = True
    line.ask(LARGE)
    line.connection.leave(line.waiter)
    assert line.transport.closing
    line.transport.flush()
    assert len(line.transport.written) < 5
    whole = Line()
    whole.ask()
    whole.say(WHOLE)
    whole.connection.leave(whole.waiter)
    assert (1, False) == (whole.kept, whole.transport.closing)


@pytest.mark.parametrize(
    ("sent", "error", "not_carried_out"),
    [
        (b"", None, True),
        (b"", ConnectionResetError(), True),
        (b"", TimeoutError(110, "gone"), False),
        (b"HTTP/1.1 2", None, False),
        (EARLY_HINTS, None, False),
    ],
)
async def test_a_connection_that_is_lost_before_an_answer(
    sent: bytes, error: Exception | None, *, not_carried_out: bool
) -> None:
    """The request may go out again only where not a byte has come, and the path is not dead."""
    line = await used()
    line.ask()
    if sent:
        line.say(sent)
    line.connection.connection_lost(error)
    with pytest.raises(HungUp) as raised:
        await line.answer()
    assert not_carried_out is raised.value.not_carried_out


@pytest.mark.parametrize("head", [WHOLE[:-1], CHUNKED[:-5], CHUNKED[:-1]])
async def test_a_connection_that_is_lost_within_a_body_is_a_cut(head: bytes) -> None:
    """What came before is delivered."""
    line = Line()
    line.ask()
    line.say(head)
    _, tap = await line.waiter
    assert b"ab" == (await tap.read())[:2]
    line.connection.connection_lost(None)
    with pytest.raises(StreamCut):
        await tap.read()


@pytest.mark.parametrize("size", [b"8000000000000000", b"-1", b"0x3", b"1" * 2000])
async def test_a_chunk_of_an_impossible_size_is_a_cut(size: bytes) -> None:
    """And closes the connection."""
    line = Line()
    line.ask()
    line.say(CHUNKED[: CHUNKED.index(b"3\r\nabc")] + size + b"\r\n" + b"x" * 100)
    with pytest.raises(StreamCut):
        await line.answer()
    assert line.transport.closing


async def test_trailers_without_end_are_a_cut() -> None:
    """Beyond 16 KiB."""
    line = Line()
    line.ask()
    line.say(CHUNKED[:-2])
    for _ in range(2000):
        if not line.transport.closing:
            line.say(b"X-Trailer: abcdef\r\n")
    with pytest.raises(StreamCut):
        await line.answer()


@pytest.mark.parametrize("piece", [b"X-A: b\r\n" * 100, b"x" * 1000, EARLY_HINTS * 20])
async def test_headers_are_bounded(piece: bytes) -> None:
    """As lines, as one line, and as informational heads without end."""
    line = Line()
    line.ask()
    line.say(b"HTTP/1.1 103 Early Hints\r\nX-A: b")
    line.say(b"\r\n\r\n" if piece.startswith(b"HTTP") else b"\r\nX-B: ")
    sent = 0
    while not line.transport.closing and sent <= HEAD_LIMIT:
        line.say(piece)
        sent += len(piece)
    assert line.transport.closing
    with pytest.raises(HeadTooLarge):
        await line.answer()


class Pending:
    """A poll that finds something for so many times."""

    def __init__(self, times: int = 1) -> None:
        """Find something."""
        self._times = times

    def poll(self, _timeout: int) -> list[tuple[int, int]]:
        """Return an event, or none."""
        self._times -= 1
        return [(0, 1)] if self._times >= 0 else []


async def test_the_kernel_is_asked_before_a_request_is_written() -> None:
    """What it has, and the event loop has not read, condemns a plain connection."""
    line = await used()
    line.connection._poll = Pending()  # type: ignore[assignment]
    assert not line.connection.usable()


@pytest.mark.parametrize(("encrypted", "fresh"), [(True, True), (True, False), (False, True)])
async def test_a_ticket_on_a_fresh_encrypted_connection_is_no_stray(
    *, encrypted: bool, fresh: bool
) -> None:
    """Only there bytes of the kernel's may be no data, and cannot be an earlier answer."""
    line = Line() if fresh else await used()
    line.connection.encrypted = encrypted
    line.connection._poll = Pending()  # type: ignore[assignment]
    assert (encrypted and fresh) is line.connection.usable()


@pytest.mark.parametrize(("turns", "usable"), [(0, True), (1, True), (2, True), (99, False)])
async def test_what_is_pending_on_a_used_encrypted_connection_is_read_first(
    turns: int, *, usable: bool
) -> None:
    """A ticket does no harm: once it has been read nothing is pending. What stays is no ticket."""
    line = await used()
    line.connection.encrypted = True
    line.connection._poll = Pending(turns)  # type: ignore[assignment]
    await line.connection.settled()
    assert usable is line.connection.usable()
