"""The reader of server-sent events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.errors import AnswerTooLarge
from gemini_backend.upstream.gemini.sse import EventReader

LIMIT = 4096


def read(*reads: bytes, limit: int = LIMIT) -> list[bytes]:
    """Return the events of a stream that arrives in these reads and then ends."""
    reader = EventReader(limit)
    events = [event for piece in reads for event in reader.feed(piece)]
    return events + reader.finish()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """Return the stream in pieces."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_line_ends_of_every_kind(end: bytes) -> None:
    """CRLF, LF and CR end a line, an empty line ends an event."""
    stream = b'data: {"a":1}' + end + end + b'data: {"b":2}' + end + end
    assert [b'{"a":1}', b'{"b":2}'] == read(stream)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data:a\ndata:  b\n\n", [b"a\n b"]),
        (b": a comment\n\ndata: a\n\n", [b"a"]),
        (b"event: x\nid: 7\nretry: 10\ndata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\r\n\r\n\r\ndata: a\r\n\r\n\r\n", [b"a"]),
        (b"data\n\ndata: a\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\r\n", [b"a"]),
        (b"", []),
    ],
)
def test_what_an_event_is_made_of(stream: bytes, events: list[bytes]) -> None:
    """Lines of data are joined, other fields passed over, the last event needs no empty line."""
    assert events == read(stream)


def test_several_events_in_one_read() -> None:
    """A read full of whole events gives all of them, in order."""
    payloads = [b'{"n":%d}' % n for n in range(20)]
    assert payloads == read(b"".join(b"data: %s\r\n\r\n" % payload for payload in payloads))


def test_an_event_that_is_too_large_comes_after_those_before_it() -> None:
    """What came whole is handed out; then the bound and its setting are named."""
    reader = EventReader(100)
    assert [b"a"] == reader.feed(b"data: a\r\n\r\ndata: " + b"x" * 200)
    with pytest.raises(AnswerTooLarge, match=r"100 bytes.*upstream\.gemini\.max_event_bytes"):
        reader.feed(b"x")
    with pytest.raises(AnswerTooLarge):
        reader.finish()


def test_an_event_of_many_lines_is_bounded_too() -> None:
    """The bound holds for the event, not for the line."""
    with pytest.raises(AnswerTooLarge):
        read(b"data: 0123456789\n" * 20, b"\n", limit=100)


def test_what_is_no_event_is_kept_apart_and_bounded() -> None:
    """A bare JSON error can be read; endless garbage takes no memory."""
    reader = EventReader(1 << 20)
    assert [] == reader.feed(b'{\n "error": {"code": 503}\n}\n')
    assert b'{\n "error": {"code": 503}\n}\n' == bytes(reader.foreign)
    for _ in range(100):
        reader.feed(b"garbage of some length\n" * 1000)
    assert len(reader.foreign) < 200_000


@pytest.mark.parametrize(
    "strange", [b"garbage", b'\xff\xfe"data: x', b"xdata: x", b'{"error": 1}', b"id"]
)
def test_after_what_is_no_event_there_are_none(strange: bytes) -> None:
    """What it stands in the place of may be a piece of the answer, so nothing follows it."""
    stream = b"data: a\n\n" + strange + b"\ndata: b\n\ndata: c\n\n"
    assert [b"a"] == read(stream)
    assert [b"a"] == read(b"data: a\r\n\r\n", strange + b"\n", b"data: b\r\n\r\n")


def test_a_line_of_blanks_is_nothing() -> None:
    """It breaks no event and ends none."""
    assert [b"a\nb"] == read(b"data: a\n  \ndata: b\n\n")


LINES = st.one_of(
    st.builds(lambda text: b"data: " + text.encode(), st.text(alphabet="aé🌊 :{}", max_size=12)),
    st.sampled_from([b"", b": c", b"event: e", b"id: 1", b"data:x", b"data: {}"]),
)


@given(
    lines=st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=20),
    places=st.lists(st.integers(0, 1000), max_size=12),
)
def test_any_cutting_gives_the_same_events(
    lines: list[tuple[bytes, bytes]], places: list[int]
) -> None:
    """Where the network cuts makes no difference, be it within a character or a line end."""
    stream = b"".join(line + end for line, end in lines)
    assert read(stream) == read(*cut(stream, places))
    assert read(stream) == read(*(stream[i : i + 1] for i in range(len(stream))))


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_garbage_never_breaks_the_reader(reads: list[bytes]) -> None:
    """Whatever comes, the reader gives events or says that one is too large."""
    try:
        events = read(*reads, limit=64)
    except AnswerTooLarge:
        return
    assert all(len(event) <= 64 for event in events)
