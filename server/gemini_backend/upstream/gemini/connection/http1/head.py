"""The head of an answer."""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from gemini_backend.upstream.gemini.connection.http1.no_answer import NotHttp

_ZERO, _SPACE = b"\0 "  # numbers: bytes are looked for in bytes at many times the price
_LISTS = (b"connection", b"transfer-encoding")
_VERSIONS = ("1.1", "1.0")
_LOWEST_STATUS = 100
_SWITCHING = 101  # what comes behind it is no HTTP any more


class Head:
    """Status and headers of an answer.

    Attributes:
        status: The status, from 100 on.
        keeps: Whether the other side leaves the connection open for another request.
    """

    __slots__ = ("_headers", "keeps", "status")

    def __init__(self, status: int, headers: dict[bytes, bytes], *, keeps: bool) -> None:
        """Hold headers by their names in small letters."""
        self.status = status
        self._headers = headers
        self.keeps = keeps

    def find(self, name: bytes) -> str | None:
        """Return a header by its name in small letters; None where it is not there.

        Of several the first counts, except for lists that frame the message, which are joined.
        What is not UTF-8 is replaced: it may be told to a caller, in a message of the contract.
        """
        found = self._headers.get(name)
        return None if found is None else found.decode("utf-8", "replace")


class _Fields:
    """Collects what the parser finds."""

    __slots__ = ("by_name", "complete")

    def __init__(self) -> None:
        self.by_name: dict[bytes, bytes] = {}
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        by_name = self.by_name
        if name not in by_name:
            by_name[name] = value
        elif name in _LISTS:
            by_name[name] += b", " + value

    def on_headers_complete(self) -> None:
        self.complete = True


def head_end(data: bytes | bytearray, start: int = 0) -> int:
    """Return where the head ends that `data` begins with; -1 where its empty line has not come.

    Lines end with CR LF, or with a bare LF, as some servers have it. What is before `start` has
    been looked at.
    """
    strict = data.find(b"\n\r\n", start)
    bare = data.find(b"\n\n", start, len(data) if strict < 0 else strict + 1)
    if bare >= 0:
        return bare + 2
    return strict + 3 if strict >= 0 else -1


def read_head(data: bytes) -> Head:
    """Return the head that `data` is, with its empty line and nothing behind it.

    Raises:
        NotHttp: it is none of HTTP/1.1 or 1.0, or does not say clearly how its body ends.
    """
    fields = _Fields()
    parser = HttpResponseParser(fields)
    parser.set_dangerous_leniencies(
        lenient_headers=True,
        lenient_optional_cr_before_lf=True,
        lenient_spaces_after_chunk_size=True,
    )
    try:
        parser.feed_data(data)
    except HttpParserUpgrade:
        pass  # a status like any other, that nobody asked for
    except HttpParserError as error:
        if not fields.complete:
            raise NotHttp(_words(error)) from None
    version, status, headers = parser.get_http_version(), parser.get_status_code(), fields.by_name
    if version not in _VERSIONS or status < _LOWEST_STATUS or not fields.complete:
        msg = "the data is not a response head"
        raise NotHttp(msg)
    if _ZERO in data:
        msg = "a header contains a zero byte"
        raise NotHttp(msg)
    # read leniently elsewhere, "Content-Length : 5" would frame the body here and not there
    if _SPACE in b"".join(headers):
        msg = "a header's name contains a space"
        raise NotHttp(msg)
    keeps = status != _SWITCHING and _keeps(version, headers.get(b"connection"))
    return Head(status, headers, keeps=keeps)


def _keeps(version: str, connection: bytes | None) -> bool:
    if connection is None:
        return version == "1.1"
    words = [word.strip() for word in connection.lower().split(b",")]
    return b"close" not in words and (version == "1.1" or b"keep-alive" in words)


def _words(error: HttpParserError) -> str:
    """Return what the parser says: constant words, none of the data."""
    words = str(error)
    return words[:1].lower() + words[1:]
