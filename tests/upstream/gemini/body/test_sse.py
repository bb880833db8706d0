"""The reader of server-sent events.

Covers: upstream/gemini/body/event_data.py, upstream/gemini/body/value_stream.py
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_backend.errors import AnswerTooLarge
from gemini_backend.upstream.gemini.body.sse import EventReader

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
        (b"data: \r\n\r\n", []),
        (b"data: \r\n\r\ndata: a\r\n\r\n", [b"a"]),
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


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_an_event_may_be_as_large_as_the_bound(end: bytes) -> None:
    """Its lines count with a byte between them; one byte more is too much."""
    whole = b"data: " + b"x" * 49 + end + b"data: " + b"y" * 49 + end + end
    assert [b"x" * 49 + b"\n" + b"y" * 49] * 2 == read(whole * 2, limit=100)
    with pytest.raises(AnswerTooLarge):
        read(whole.replace(b"x", b"xx", 1), limit=100)


def test_reads_of_whole_events_are_held_to_the_rules_too() -> None:
    """Whatever is not a plain event is seen among plain ones: empty, twice named, of two lines."""
    plain = b"data: a\r\n\r\n"
    for odd, payloads in (
        (b"data: \r\n\r\n", []),
        (b"data: data: b\r\n\r\n", [b"b"]),
        (b"data: b\ndata: c\r\n\r\n", [b"b\nc"]),
        (b"data: b\rdata: c\r\n\r\n", [b"b\nc"]),
        (b": ping\r\n\r\n", []),
    ):
        assert [b"a", *payloads, b"a"] == read(plain + odd + plain)
        assert payloads == read(odd)
    large = b"data: " + b"x" * 101 + b"\r\n\r\n"
    with pytest.raises(AnswerTooLarge):
        read(plain + large, b"x", limit=100)


@pytest.mark.parametrize("strange", [b"garbage", b'\xff\xfe"data: x', b"xdata: x", b"id", b"\0\0"])
def test_a_line_that_is_not_of_an_event_is_handed_on_in_its_place(strange: bytes) -> None:
    """What it stands in the place of may be a piece of the answer: whoever reads on has to know."""
    stream = b"data: a\n\n" + strange + b"\ndata: b\n\ndata: c\n\n"
    assert [b"a", strange, b"b", b"c"] == read(stream)
    assert [b"a", strange, b"b"] == read(b"data: a\r\n\r\n", strange + b"\n", b"data: b\r\n\r\n")
    assert [b"a", strange] == read(b"data: a\n\n" + strange)


ERROR = b'{\n "error": {"code": 503}\n}'


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n\r\n"])
def test_a_bare_error_is_handed_out_when_its_last_byte_is_there(tail: bytes) -> None:
    """Also in the middle of a line, and though the body does not end."""
    reader = EventReader(LIMIT)
    assert [b"a", ERROR] == reader.feed(b"data: a\n\n" + ERROR + tail)
    assert [b"b"] == reader.feed(b"\ndata: b\n\n")


@pytest.mark.parametrize("lead", [b"", b"\xef\xbb\xbf", b"\r\n \n", b"\xef\xbb\xbf\n\t"])
def test_elements_of_an_array_are_handed_out_one_by_one(lead: bytes) -> None:
    """Each when its last byte is there, not at the end of the array."""
    reader = EventReader(LIMIT)
    first, second = b'{"a":"]},\\"{"}', b'{"b":[[1]]}'
    assert [] == reader.feed(lead + b"[" + first[:5])
    assert [first] == reader.feed(first[5:] + b"\n,\r\n")
    assert [second] == reader.feed(second)
    assert [] == reader.feed(b" , null]\n")
    assert ([], False) == (reader.finish(), reader.half)


def test_objects_one_a_line_are_payloads() -> None:
    """So is what stands behind another in a line, and what an array holds that is no object."""
    assert [b'{"a":1}', b'{"b":2}', b"{}"] == read(b'{"a":1}\n{"b":2}{}\n')
    assert [b"1", b'{"a":1}', b'"x"'] == read(b'[1,{"a":1},"x"]')


@pytest.mark.parametrize(
    "half",
    [b"da", b'data: {"a', b'data: {"a"\n', b'{"a":', b"[", b'[{"a":1}', b'[{"a":1},', b"data: ["],
)
def test_half_an_event_at_the_end_is_told_and_not_handed_on(half: bytes) -> None:
    """What comes before it is."""
    reader = EventReader(LIMIT)
    found = reader.feed(b"data: a\n\n" + half) + reader.finish()
    whole = [b'{"a":1}'] if half.startswith(b'[{"a":1}') else []
    assert ([b"a", *whole], True) == (found, reader.half)


@pytest.mark.parametrize("garbage", [b"{malformed: <<<", b'{"a" 1', b"{\0"])
@pytest.mark.parametrize("lead", [b"", b"data: "])
def test_what_is_no_beginning_of_json_is_no_half(garbage: bytes, lead: bytes) -> None:
    """It is handed on for what it is, though it begins like an object."""
    reader = EventReader(LIMIT)
    found = reader.feed(b"data: a\n\n" + lead + garbage) + reader.finish()
    assert ([b"a", garbage], False) == (found, reader.half)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b'data: {"a":1}\ndata: {"b":2}\n\n', [b'{"a":1}', b'{"b":2}']),
        (b'data: {\ndata: "a":1}\ndata: {"b":2}\n\n', [b'{\n"a":1}', b'{"b":2}']),
        (b'data: {"a":1}\n{"error":2}\n', [b'{"a":1}', b'{"error":2}']),
        (b'data: {\n "a": 1\n}\n\n', [b'{\n "a": 1\n}']),
    ],
)
def test_objects_are_told_apart_without_empty_lines(stream: bytes, events: list[bytes]) -> None:
    """A whole object ends its event; lines without a name go on with one that has begun."""
    assert events == read(stream)
    assert events == read(*(stream[i : i + 1] for i in range(len(stream))))


def test_a_whole_object_does_not_wait_for_its_empty_line() -> None:
    """A server that leaves it out delays no event by another."""
    reader = EventReader(LIMIT)
    assert [b'{"a":1}'] == reader.feed(b'data: {"a":1}\n')
    assert [b'{"b":2}'] == reader.feed(b'\r\ndata: {"b":2}\r\n\r\n')


@pytest.mark.parametrize(
    ("data", "event"),
    [
        (b'{"code":503}', b'{"error":{"code":503}}'),
        (b"overloaded", b'{"error":"overloaded"}'),
        (b'{"error":{"code":503}}', b'{"error":{"code":503}}'),
        (b'{"candidates":[]}', b'{"candidates":[]}'),
    ],
)
def test_an_event_named_error_is_an_error(data: bytes, event: bytes) -> None:
    """Whatever its data are, and only that event."""
    stream = b"event: error\ndata: " + data + b"\n\ndata: {}\n\n"
    assert [event, b"{}"] == read(stream)
    assert [event, b"{}"] == read(stream[:13], stream[13:])


def test_elements_and_bare_values_are_bounded() -> None:
    """What came whole is handed out; then the bound is named."""
    reader = EventReader(100)
    assert [b"{}"] == reader.feed(b'[{}, {"a": "' + b"x" * 200)
    with pytest.raises(AnswerTooLarge):
        reader.feed(b"x")


def test_a_line_of_blanks_is_nothing() -> None:
    """It breaks no event and ends none."""
    assert [b"a\nb"] == read(b"data: a\n  \ndata: b\n\n")


LINES = st.one_of(
    st.builds(lambda text: b"data: " + text.encode(), st.text(alphabet="aé🌊 :{}", max_size=12)),
    st.sampled_from([b"", b": c", b"event: e", b"id: 1", b"data:x", b"data: {}", b"data: {"]),
    st.sampled_from(
        [b"event: error", b'{"a"', b": 1}", b"{}", b"[{},", b"]", b" ", b"\xef\xbb\xbf"]
    ),
)


@example(lines=[(b"\xef\xbb\xbf", b"\n")], places=[0])
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
