"""Takes the head of an answer off a connection, past the informational ones before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.upstream.gemini.connection.connect_errors import HEAD_LIMIT
from gemini_backend.upstream.gemini.connection.http1.head import head_end, read_head
from gemini_backend.upstream.gemini.connection.http1.no_answer import HeadTooLarge, NotHttp

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.http1.head import Head

_INFORMATIONAL = range(100, 200)
_SWITCHING = 101
_MOST_INFORMATIONAL = 256
"""Informational heads before an answer, such as 102 every few seconds; one more is one too many."""
_BEGINNING = b"HTTP/1."
_LONGEST_END = 3


class HeadReader:
    """Reads one head, bounded in bytes; `behind` is what came after it."""

    __slots__ = ("_informational", "_partial", "_size", "behind")

    def __init__(self) -> None:
        """Begin where a request was written."""
        self._partial = bytearray()
        self._size = 0  # of all that has come
        self._informational = 0
        self.behind = b""

    def feed(self, data: bytes) -> Head | None:
        """Return the head that ends in `data`; None where it has not come to its end.

        Raises:
            NotHttp: it is none.
            HeadTooLarge: it has more than `HEAD_LIMIT` bytes, or too many precede it.
        """
        self._size += len(data)
        start, partial = 0, self._partial
        if partial:
            start = max(0, len(partial) + 1 - _LONGEST_END)
            partial += data
            if head_end(partial, start) < 0:
                self._check_size(0)
                return None
            data = bytes(partial)
            partial.clear()
        while True:
            if not data.startswith(_BEGINNING):  # empty lines before an answer mean nothing
                data = data.lstrip(b"\r\n")
            end = head_end(data, start)
            if end < 0:
                self._unfinished(data)
                return None
            self._check_size(len(data) - end)
            head = read_head(data if end == len(data) else data[:end])
            data, start = data[end:], 0
            if head.status not in _INFORMATIONAL or head.status == _SWITCHING:
                self.behind = data
                return head
            self._informational += 1
            if self._informational > _MOST_INFORMATIONAL:
                raise HeadTooLarge

    def _unfinished(self, data: bytes) -> None:
        self._check_size(0)
        if data[: len(_BEGINNING)] != _BEGINNING[: len(data)]:
            msg = "the data is not a response head"
            raise NotHttp(msg)
        self._partial += data

    def _check_size(self, behind: int) -> None:
        if self._size - behind > HEAD_LIMIT:
            raise HeadTooLarge
