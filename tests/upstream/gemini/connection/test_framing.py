"""Where the body of an answer ends."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gemini_backend.upstream.gemini.connection.framing import (
    OPEN,
    BrokenFraming,
    Chunked,
    Sized,
    UntilClosed,
    framing_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_backend.upstream.gemini.connection.framing import Framing


def taken(framing: Framing, reads: Iterable[bytes]) -> tuple[bytes, bytes | None]:
    """Return the body in these reads, and what came behind it; None where it has not ended."""
    pieces: list[bytes] = []
    surplus = None
    for read in reads:
        if surplus is not None:
            surplus += read
            continue
        end = framing.take(read, pieces)
        if end != OPEN:
            surplus = read[end:]
    return b"".join(pieces), surplus


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut at these places, modulo the length; no piece is empty."""
    edges = [0, *sorted({place % (len(data) + 1) for place in places} - {0, len(data)}), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    extension=st.sampled_from([b"", b";a=b", b" "]),
    trailers=st.sampled_from([b"", b"X-A: 1\r\n", b"X-A: 1\r\nX-B: 2\r\n"]),
    surplus=st.sampled_from([b"", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"0\r\n\r\n"]),
    places=st.lists(st.integers(0, 400), max_size=10),
)
def test_chunks_cut_anywhere_end_at_the_same_byte(
    chunks: list[bytes], extension: bytes, trailers: bytes, surplus: bytes, places: list[int]
) -> None:
    """Extensions and trailers are dropped; what follows is told apart to the byte."""
    packed = b"".join(b"%x%s\r\n%s\r\n" % (len(c), extension, c) for c in chunks)
    reads = cut(packed + b"0\r\n" + trailers + b"\r\n" + surplus, places)
    assert (b"".join(chunks), surplus) == taken(Chunked(), reads)


@given(
    body=st.binary(min_size=1, max_size=60),
    surplus=st.binary(max_size=10),
    places=st.lists(st.integers(0, 80), max_size=6),
)
def test_a_sized_body_ends_after_its_length(body: bytes, surplus: bytes, places: list[int]) -> None:
    """However it is cut; what follows is told apart."""
    assert (body, surplus) == taken(Sized(len(body)), cut(body + surplus, places))


def test_a_body_may_have_no_end_of_its_own() -> None:
    """It ends with the connection."""
    assert (b"abc", None) == taken(UntilClosed(), [b"a", b"bc"])


@pytest.mark.parametrize(
    ("framing", "data", "owes"),
    [
        (Chunked(), b"", False),
        (Chunked(), b"2", True),
        (Chunked(), b"2\r\n", True),
        (Chunked(), b"2\r\na", True),
        (Chunked(), b"2\r\nab", False),
        (Chunked(), b"2\r\nab\r\n", False),
        (Chunked(), b"2\r\nab\r\n0", False),
        (Chunked(), b"2\r\nab\r\n00\r\nX-A: 1\r\n", False),
        (Sized(2), b"", True),
        (Sized(2), b"a", True),
        (Sized(2), b"ab", False),
        (UntilClosed(), b"ab", False),
    ],
)
def test_a_body_owes_what_it_has_announced(framing: Framing, data: bytes, *, owes: bool) -> None:
    """The rest of a chunk, or of the length; not a next chunk, or the last, which has no bytes."""
    taken(framing, [data] if data else [])
    assert owes is framing.owes


@pytest.mark.parametrize(
    "bad",
    [
        b"zz\r\nabc",
        b"-5\r\nabc",
        b"x" * 2000,
        b"0x5\r\n",
        b"\r\nabc",
        b"1\r\nabcd",
        b"1\r\na\rb",
        b"0\r\n" + b"X: y\r\n" * 5000,
    ],
)
def test_what_breaks_the_framing_is_refused(bad: bytes) -> None:
    """A size that is none, or that does not fit; a line or trailers without end."""
    with pytest.raises(BrokenFraming):
        taken(Chunked(), [bad])


@pytest.mark.parametrize(
    ("status", "coding", "length", "expected"),
    [
        (200, "chunked", None, Chunked),
        (200, "gzip, Chunked", None, Chunked),
        (200, None, "5", Sized),
        (500, None, "5", Sized),
        (200, None, "0", type(None)),
        (200, None, None, UntilClosed),
        (200, "gzip", "5", UntilClosed),
        (200, "chunked, gzip", None, UntilClosed),
        (204, None, "5", type(None)),
        (304, "chunked", None, type(None)),
        (101, None, None, type(None)),
    ],
)
def test_the_head_says_how_the_body_ends(
    status: int, coding: str | None, length: str | None, expected: type
) -> None:
    """By chunks, by a length, or with the connection; some answers have no body, come what may."""
    assert expected is type(framing_of(status, coding, length))


@pytest.mark.parametrize(
    ("framing", "expected"), [(Sized(3), False), (Chunked(), False), (UntilClosed(), True)]
)
def test_only_a_body_without_an_end_of_its_own_ends_with_its_connection(
    framing: Framing, expected: bool
) -> None:
    """Elsewhere a lost connection is a broken body."""
    assert expected == framing.ends_with_connection
