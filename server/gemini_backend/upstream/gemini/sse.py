"""Server-sent events, read as they arrive: bytes in, the data of whole events out."""

from __future__ import annotations

import re

from gemini_backend.errors import AnswerTooLarge

_EVENT_END = b"\r\n\r\n"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_PASSED_OVER = frozenset((b"", b"event", b"id", b"retry"))  # the first is a comment's
_FOREIGN_LIMIT = 64 * 1024


class EventReader:
    """Cuts one stream of bytes into events.

    Lines may end in CRLF, LF or CR, also mixed, and the network may cut anywhere. Comments and the
    standard's fields other than `data` are passed over. What stands in any other line is kept in
    `foreign`, at most 64 KiB of it: Gemini may put a bare JSON error there. From such a line on
    there are no events any more: what it stands in the place of may be a piece of the answer.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_first_line",
        "_limit",
        "_overflow",
        "_partial",
        "_size",
        "empty",
        "foreign",
    )

    def __init__(self, max_event_bytes: int) -> None:
        """Read one stream, none of whose events may be larger than `max_event_bytes`."""
        self._limit = max_event_bytes
        self._partial = bytearray()  # the beginning of a line whose end has not come
        self._after_cr = False  # the last read ended in CR: an LF that follows belongs to it
        self._data: list[bytes] = []  # lines of the event under way
        self._size = 0  # their bytes
        self._overflow = False
        self._first_line = True
        self.empty = True  # not one byte has come
        self.foreign = bytearray()

    def feed(self, read: bytes) -> list[bytes]:
        """Take what one read of the network gave; return the data of the events it completes.

        An oversized event is told of by the next call, so that the events before it are not lost.

        Raises:
            AnswerTooLarge: the event under way had outgrown the bound.
        """
        if self._overflow:
            raise self._too_large()
        self.empty = self.empty and not read
        under_way = self._partial or self._data or self._after_cr or self.foreign
        if not under_way and read.endswith(_EVENT_END):
            events = self._whole_events(read)
            if events is not None:
                return events
        return self._by_lines(read)

    def finish(self) -> list[bytes]:
        """Return the data of an event that the end of the stream left without its blank line.

        Raises:
            AnswerTooLarge: the event under way had outgrown the bound.
        """
        if self._overflow:
            raise self._too_large()
        if self._partial:
            line = bytes(self._partial)
            self._partial.clear()
            self._line(line)
        return self._dispatch()

    def _whole_events(self, read: bytes) -> list[bytes] | None:
        """Cut a read that is nothing but whole one-line events, as nearly every read is."""
        size = len(read)
        if read.find(b"\n") == size - 3 and read.find(b"\r") == size - 4 and size <= self._limit:
            if not read.startswith(b"data: "):
                return None
            self._first_line = False
            return [read[6:-4]]
        events = []
        for piece in read[:-4].split(_EVENT_END):
            if (
                not piece.startswith(b"data: ")
                or b"\n" in piece
                or b"\r" in piece
                or len(piece) > self._limit
            ):
                return None
            events.append(piece[6:])
        self._first_line = False
        return events

    def _by_lines(self, read: bytes) -> list[bytes]:
        if self._after_cr and read:
            self._after_cr = False
            if read[0] == ord("\n"):
                read = read[1:]
        events: list[bytes] = []
        start = 0
        for end in _LINE_END.finditer(read):
            line = read[start : end.start()]
            start = end.end()
            if self._partial:
                self._partial += line
                line = bytes(self._partial)
                self._partial.clear()
            if line:
                self._line(line)
            else:
                events += self._dispatch()
            if self._overflow:
                return events
        if read:
            self._after_cr = read.endswith(b"\r")
        if start < len(read):
            self._partial += read[start:]
            self._overflow = self._size + len(self._partial) > self._limit
        return events

    def _line(self, line: bytes) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        name, colon, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value) + 1
            self._overflow = self._size > self._limit
        elif (
            not (colon and name in _PASSED_OVER)
            and len(self.foreign) < _FOREIGN_LIMIT
            and not line.isspace()
        ):
            self.foreign += line[:_FOREIGN_LIMIT] + b"\n"

    def _dispatch(self) -> list[bytes]:
        if not self._data:
            return []
        event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data = []
        self._size = 0
        return [event] if event and not self.foreign else []

    def _too_large(self) -> AnswerTooLarge:
        return AnswerTooLarge(
            f"an event of the answer is larger than {self._limit} bytes; ask for less in one "
            "piece, or raise upstream.gemini.max_event_bytes"
        )
