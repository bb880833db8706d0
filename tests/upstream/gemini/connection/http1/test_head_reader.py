"""A head that comes in pieces, behind others."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.upstream.gemini.connection.connect_errors import HEAD_LIMIT
from gemini_backend.upstream.gemini.connection.http1.head_reader import HeadReader
from gemini_backend.upstream.gemini.connection.http1.no_answer import HeadTooLarge, NotHttp

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n"


@given(
    before=st.lists(st.sampled_from([HINT, b"\r\n", b"HTTP/1.1 100 Continue\n\n"]), max_size=4),
    places=st.lists(st.integers(0, 300), max_size=8),
    behind=st.binary(max_size=20),
)
def test_a_head_is_found_however_it_is_cut(
    before: list[bytes], places: list[int], behind: bytes
) -> None:
    """Informational ones are passed over, and what follows in the same read is handed on."""
    data = b"".join(before) + HEAD
    reader = HeadReader()
    edges = sorted({0, len(data), *(place % len(data) for place in places)})
    reads = [data[a:b] for a, b in itertools.pairwise(edges)]
    found = [reader.feed(read) for read in [*reads[:-1], reads[-1] + behind]]
    assert [None] * (len(reads) - 1) == found[:-1]
    assert found[-1] is not None
    assert (200, "b", behind) == (found[-1].status, found[-1].find(b"x-a"), reader.behind)


@pytest.mark.parametrize("data", [b"220 mail.test ESMTP", b"\x16\x03\x01\x02", b"HTTP/2", b"<html"])
def test_what_cannot_become_a_head_is_refused_at_once(data: bytes) -> None:
    """Without waiting for an empty line."""
    with pytest.raises(NotHttp):
        HeadReader().feed(data)


def test_a_head_of_the_largest_size_is_read() -> None:
    """What comes behind it does not count."""
    reader = HeadReader()
    head = b"HTTP/1.1 200 OK\r\nX-A: " + b"x" * (HEAD_LIMIT - 26) + b"\r\n\r\n"
    assert HEAD_LIMIT == len(head)
    found = reader.feed(head + b"y" * 100)
    assert found is not None
    assert 200 == found.status
    with pytest.raises(HeadTooLarge):
        HeadReader().feed(head.replace(b"x", b"xx", 1))


def test_informational_heads_are_counted() -> None:
    """One too many is refused, however small they are."""
    with pytest.raises(HeadTooLarge):
        HeadReader().feed(b"HTTP/1.1 100 Continue\r\n\r\n" * 257)
