"""The events of a streamed answer, read as they arrive, whatever form the body has.

The label of a body is not looked at: servers, and proxies before them, send event streams as JSON
and JSON as event streams. What the bytes are is seen line by line, so nothing waits for a decision.
"""

from __future__ import annotations

import re

from gemini_backend.errors import AnswerTooLarge
from gemini_backend.upstream.gemini.body import event_data
from gemini_backend.upstream.gemini.body.value_stream import ValueReader

_EVENT_END = b"\r\n\r\n"
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
_PASSED_OVER = frozenset((b"", b"event", b"id", b"retry"))  # the first is a comment's
_OPENING = (b"{", b"[")
_BLANKS_LIMIT = 64  # more of them at the beginning of a line are not kept
_DATA = b"data: "
_DATA_OBJECT = b"data: {"
_CR, _LF = b"\r\n"  # numbers: bytes are looked for in bytes at many times the price
_TWICE = b"data: data:"  # some proxies put the name before what has it


class EventReader:
    """Cuts one body into the payloads of its events.

    Server-sent events: lines may end in CRLF, LF or CR, also mixed, and the network may cut
    anywhere. Comments and the standard's fields other than `data` are passed over, except that the
    data of an event named `error` is made an error of Gemini's form. Two departures from the
    standard, neither of which changes an event that is JSON: an object that is whole ends its
    event without an empty line, and lines without a name go on with an object that has begun.

    JSON at the beginning of a line: an object is a payload, an array one for each element. That is
    how an answer without events comes, and a bare error in the middle of an event stream.

    Any other line is a payload as it stands, which nobody can read as an answer.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_error",
        "_first_line",
        "_limit",
        "_overflow",
        "_partial",
        "_size",
        "_undecided",
        "_value",
        "half",
    )

    def __init__(self, max_event_bytes: int) -> None:
        """Read one body, none of whose events may be larger than `max_event_bytes`."""
        self._limit = max_event_bytes
        self._partial = bytearray()  # the beginning of a line whose end has not come
        self._undecided = True  # it may still turn out to be JSON
        self._after_cr = False  # the last read ended in CR: an LF that follows belongs to it
        self._data: list[bytes] = []  # lines of the event under way
        self._size = 0  # their bytes
        self._error = False  # the event under way is named `error`
        self._overflow = False
        self._first_line = True
        self._value: ValueReader | None = None  # JSON that stands by itself, under way
        self.half = False  # the body ended in the middle of an event

    @property
    def under_way(self) -> bool:
        """Whether an event has begun that has not ended."""
        return bool(self._partial or self._data or self._value is not None)

    def feed(self, read: bytes) -> list[bytes]:
        """Take what one read of the network gave; return the payloads that it completes.

        An oversized event is told of by the next call, so that the events before it are not lost.

        Raises:
            AnswerTooLarge: the event under way had outgrown the bound.
        """
        if self._overflow:
            raise self._too_large()
        in_hand = self._partial or self._data or self._after_cr or self._error
        if not in_hand and self._value is None and len(read) <= self._limit:
            whole = self._whole_events(read)
            if whole is not None:
                return whole
        events: list[bytes] = []
        at = 0
        while at < len(read) and not self._overflow:
            value = self._value
            if value is None:
                at = self._lines(read, at, events)
            else:
                at = value.feed(read, at, events)
                self._overflow = value.overflow
                if value.done:
                    self._value = None
        return events

    def finish(self) -> list[bytes]:
        """Return what the end of the body leaves: the last event needs no empty line.

        Where that is no more than the beginning of an event, `half` is set.

        Raises:
            AnswerTooLarge: the event under way had outgrown the bound.
        """
        if self._overflow:
            raise self._too_large()
        events: list[bytes] = []
        if self._value is not None:
            self._leave_half(self._value.rest(), events)
            self._value = None
            return events
        line = bytes(self._partial)
        self._partial.clear()
        if line and _DATA.startswith(line):
            self.half = True
        elif line:
            self._line(line, events)
        last = self._data
        self._dispatch(events)
        if (
            last
            and events
            and events[-1].startswith(_OPENING)
            and not event_data.is_json(events[-1])
        ):
            self._leave_half(events.pop(), events)
        return events

    def _leave_half(self, event: bytes, events: list[bytes]) -> None:
        """Tell of the beginning of an event; what is none is handed out for what it is."""
        if not event or (event.startswith(_OPENING) and event_data.is_beginning(event)):
            self.half = True
        else:
            events.append(event)

    def _whole_events(self, read: bytes) -> list[bytes] | None:
        """Cut a read that is nothing but whole one-line objects, as nearly every read is."""
        pieces = read.split(_EVENT_END)
        if pieces.pop() or not pieces:
            return None
        events = []
        for piece in pieces:
            if piece[:7] != _DATA_OBJECT:
                return None
            events.append(piece[6:])
        text = events[0] if len(events) == 1 else b"".join(events)
        if _LF in text or _CR in text:
            return None
        self._first_line = False
        return events

    def _lines(self, read: bytes, at: int, events: list[bytes]) -> int:
        """Take lines; return how far, which is not to the end where JSON begins by itself."""
        if self._after_cr:
            self._after_cr = False
            at += read[at] == ord("\n")
        for end in _LINE_END.finditer(read, at):
            line = read[at : end.start()]
            if self._partial:
                self._partial += line
                line = bytes(self._partial)
            begins = (
                self._undecided
                and not line.startswith(b"data:")
                and self._begins_value(line, events)
            )
            self._partial.clear()
            if begins:
                return end.start() - len(_head(line))
            at = end.end()
            self._undecided = True
            if line:
                self._line(line, events)
            else:
                self._dispatch(events)
            if self._overflow:
                return at
        self._after_cr = at == len(read) and read.endswith(b"\r")
        return self._rest(read, at, events)

    def _rest(self, read: bytes, at: int, events: list[bytes]) -> int:
        """Keep the beginning of a line; hand out an event that only lacks its empty line."""
        if at < len(read):
            self._partial += read[at:]
            if self._undecided:
                line = bytes(self._partial)
                if self._begins_value(line, events):
                    self._partial.clear()
                    return len(read) - len(_head(line))
                blank = line.isspace()
                self._undecided = blank or (self._first_line and _BOM.startswith(line))
                if blank:
                    del self._partial[_BLANKS_LIMIT:]
            self._overflow = self._size + len(self._partial) > self._limit
        self._end_whole(events)
        return len(read)

    def _begins_value(self, line: bytes, events: list[bytes]) -> bool:
        """Say whether JSON begins at the beginning of a line, outside of any event."""
        if not _head(line).startswith(_OPENING):
            return False
        self._end_whole(events)
        if self._data:
            return False
        self._first_line = False
        self._value = ValueReader(self._limit)
        return True

    def _line(self, line: bytes, events: list[bytes]) -> None:
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        name, colon, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            if line.startswith(_TWICE):
                value = line[len(_TWICE) :].removeprefix(b" ")
            self._end_whole(events)
            if self._is_followed_by(value):
                self._dispatch(events)
        elif colon and name in _PASSED_OVER:
            if name == b"event":
                self._end_whole(events)
                self._error = value.strip() == b"error"
            return
        elif self._is_foreign(line, events):
            return
        else:
            value = line
        self._data.append(value)
        self._size += len(value) + 1
        self._overflow = self._size > self._limit

    def _is_foreign(self, line: bytes, events: list[bytes]) -> bool:
        """Hand out a line that is not of the event under way; say whether it is none of its."""
        if not line.strip():
            return True
        self._end_whole(events)
        if self._data and self._data[0].startswith(_OPENING):
            return False
        self._overflow = len(line) > self._limit
        if not self._overflow:
            events.append(line)
        return True

    def _end_whole(self, events: list[bytes]) -> None:
        if self._is_whole():
            self._dispatch(events)

    def _is_whole(self) -> bool:
        """Say whether the event under way is one line that is a whole object."""
        return len(self._data) == 1 and event_data.is_object(self._data[0])

    def _is_followed_by(self, value: bytes) -> bool:
        """Say whether a line begins another object: within one no brace opens behind a brace."""
        return bool(self._data) and self._data[-1].endswith(b"}") and value.startswith(b"{")

    def _dispatch(self, events: list[bytes]) -> None:
        error, self._error = self._error, False
        if not self._data:
            return
        event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data = []
        self._size = 0
        if event:
            events.append(event_data.as_error(event) if error else event)

    def _too_large(self) -> AnswerTooLarge:
        return AnswerTooLarge(
            f"an event of the answer is larger than {self._limit} bytes; request smaller answers, "
            "or raise upstream.gemini.max_event_bytes"
        )


def _head(line: bytes) -> bytes:
    """Return a line from its first visible byte on."""
    return line.removeprefix(_BOM).lstrip()
