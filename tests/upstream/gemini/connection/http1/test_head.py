"""Which heads of answers are read, and which are refused."""

from __future__ import annotations

import pytest

from gemini_backend.upstream.gemini.connection.http1.head import head_end, read_head
from gemini_backend.upstream.gemini.connection.http1.no_answer import NotHttp


def head(*lines: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    """Return a head of these lines."""
    return "\r\n".join([status, *lines, "", ""]).encode()


def test_names_are_found_in_any_case() -> None:
    """Of several of a name the first counts; what frames the message is joined."""
    found = read_head(
        head("Content-TYPE: a", "content-type: b", "Transfer-Encoding: gzip", "TE: x").replace(
            b"TE: x", b"Transfer-Encoding: chunked"
        )
    )
    assert "a" == found.find(b"content-type")
    assert "gzip, chunked" == found.find(b"transfer-encoding")
    assert None is found.find(b"x-none")


@pytest.mark.parametrize(
    ("status", "line", "keeps"),
    [
        ("HTTP/1.1 200 OK", "X-A: b", True),
        ("HTTP/1.1 200 OK", "Connection: close", False),
        ("HTTP/1.1 200 OK", "Connection: x, CLOSE", False),
        ("HTTP/1.1 204 No", "Connection: close", False),
        ("HTTP/1.0 200 OK", "X-A: b", False),
        ("HTTP/1.0 200 OK", "Connection: Keep-Alive", True),
        ("HTTP/1.1 101 Switching", "Upgrade: x", False),
        ("HTTP/1.1 101 Switching", "Upgrade: x\r\nConnection: upgrade", False),
    ],
)
def test_a_head_says_whether_the_connection_is_kept(status: str, line: str, *, keeps: bool) -> None:
    """By its version, and by what it says."""
    assert keeps is read_head(head(line, status=status)).keeps


@pytest.mark.parametrize(
    "bad",
    [
        head("Content-Length: 3", "Content-Length: 4"),
        head("Content-Length: 3, 3"),
        head("Content-Length: -3"),
        head("Content-Length: +3"),
        head("Content-Length: 99999999999999999999999"),
        head("Content-Length:"),
        head("Content-Length : 3"),
        head("Content-Length: 3", "Transfer-Encoding: chunked"),
        head("nonsense"),
        head("X-A: a\0b"),
        head("X(A: b"),
        head(status="HTTP/2.0 200 OK"),
        head(status="HTTP/0.9 200 OK"),
        head(status="HTTP/1.1 99 OK"),
        head(status="HTTP/1.1 099 OK"),
        head(status="HTTP/1.1 1000 OK"),
        head(status="ICY 200 OK"),
        head(status="GET / HTTP/1.1"),
        b"220 mail.test ESMTP\r\n\r\n",
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_refused(bad: bytes) -> None:
    """And one that is none; in words that repeat nothing of it."""
    with pytest.raises(NotHttp) as raised:
        read_head(bad)
    assert "ESMTP" not in str(raised.value)


@pytest.mark.parametrize(
    "good",
    [
        head("X-A: b\r\n c"),
        head("X-A: b\x01c"),
        head("X-A: " + "x" * 200_000),
        head(*["X-A: b"] * 1000),
        head(status="HTTP/1.1 200"),
        head(status="HTTP/1.1 999 OK"),
    ],
)
def test_oddities_that_frame_nothing_are_read(good: bytes) -> None:
    """Folded lines, control characters, much of it, no words behind the status."""
    assert read_head(good).status in {200, 999}


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", -1),
        (b"a\r\n\r", -1),
        (b"a\r\n\r\n", 5),
        (b"a\n\n", 3),
        (b"a\n\r\n", 4),
        (b"a\r\n\n", 4),
        (b"a\n\nb\r\n\r\n", 3),
        (b"a\r\n\r\nb\n\n", 5),
    ],
)
def test_a_head_ends_at_its_first_empty_line(data: bytes, end: int) -> None:
    """However lines end."""
    assert end == head_end(data)


def test_a_header_that_is_no_text_is_told_as_one() -> None:
    """It may get into a message of the contract, which takes no other."""
    found = read_head(b"HTTP/1.1 200 OK\r\nContent-Type: text/\xff\xc3\xa9\r\n\r\n")
    assert "text/\N{REPLACEMENT CHARACTER}\N{LATIN SMALL LETTER E WITH ACUTE}" == found.find(
        b"content-type"
    )
