"""Where the body of an answer ends: after a length, after the last chunk, or with the connection.

One connection carries many answers, one behind the other, so the end of each has to be known to
the byte: what follows it belongs to nobody.
"""

from __future__ import annotations

import re
from typing import Protocol

from gemini_backend.sizes import KIB

OPEN = -1
"""What `take` returns while the body has not ended."""

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_PLAIN_SIZE_LINE = re.compile(rb"([1-9A-Fa-f][0-9A-Fa-f]{0,14})\r\n")
_PLAIN_LINE = 5
"""Bytes of a size line of three digits, as nearly every event's is."""
_PLAIN_SIZES: dict[bytes, int] = {}
"""The sizes of these, by the lines that were met: of 256 to 4,095 bytes, in letters of any case."""
_LINE_END = b"\r\n"
_CHUNKED = "chunked"
_LAST_CHUNK = b"0\r\n\r\n"
_EMPTY_LINE = b"\r\n\r\n"
_LINE_LIMIT = KIB
_TRAILERS_LIMIT = 16 * KIB
_BODILESS = (101, 204, 304)


class BrokenFraming(Exception):
    """What came cannot be a body of this kind."""


class Framing(Protocol):
    """The rule by which one body ends."""

    ends_with_connection: bool

    @property
    def owes(self) -> bool:
        """Whether bytes were announced that have not come: an end there is a cut, whatever came."""
        ...

    def take(self, data: bytes, pieces: list[bytes]) -> int:
        """Append the payload in `data` to `pieces`.

        Returns:
            The offset in `data` at which the body ended, or `OPEN`.

        Raises:
            BrokenFraming: `data` breaks the rule; `pieces` has the payload before that.
        """
        ...


class Sized:
    """A body of a known length in bytes."""

    __slots__ = ("_left",)
    ends_with_connection = False

    def __init__(self, length: int) -> None:
        """Expect `length` bytes, at least one."""
        self._left = length

    @property
    def owes(self) -> bool:
        """Whether the length has not been reached."""
        return self._left > 0

    def take(self, data: bytes, pieces: list[bytes]) -> int:
        """Append what belongs to the body; see `Framing`."""
        left = self._left
        if len(data) < left:
            self._left = left - len(data)
            pieces.append(data)
            return OPEN
        self._left = 0
        pieces.append(data if len(data) == left else data[:left])
        return left


class UntilClosed:
    """A body that ends where the other side closes the connection."""

    __slots__ = ()
    ends_with_connection = True
    owes = False

    def take(self, data: bytes, pieces: list[bytes]) -> int:
        """Append everything; see `Framing`."""
        pieces.append(data)
        return OPEN


class Chunked:
    """A body in chunks, with or without extensions and trailers, which are dropped."""

    __slots__ = ("_left", "_line", "_skip")
    ends_with_connection = False

    def __init__(self) -> None:
        """Begin at the first chunk's size."""
        self._left = 0  # bytes of the chunk under way that have not come
        self._skip = 0  # bytes of the line end behind it that have not come
        self._line = b""  # the beginning of a line that can only be read whole

    @property
    def owes(self) -> bool:
        """Whether a chunk was announced that has not come to its end; the last one has no bytes."""
        size = self._line.lstrip(b"0")
        return self._left > 0 or bool(size and size[:1] not in b"\r;")

    def take(self, data: bytes, pieces: list[bytes]) -> int:
        """Append the chunks' payload; see `Framing`."""
        kept = len(self._line)
        if kept:
            data, self._line = self._line + data, b""
        at = 0 if self._left or self._skip else _whole_chunks(data, pieces)
        length = len(data)
        while at < length:
            if self._left:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                self._skip = 0 if self._left else 2
            elif self._skip:
                at += self._skipped(data[at : at + self._skip])
            elif data.startswith(_LAST_CHUNK, at):
                return at + len(_LAST_CHUNK) - kept
            else:
                line = _SIZE_LINE.match(data, at)
                if line is None:
                    beginning = data[at:]
                    self._keep(beginning, 0 if b"\n" in beginning else _LINE_LIMIT)
                    break
                self._left = int(line[1], 16)
                if not self._left:
                    # the size line's own end may be half of the empty line behind the trailers
                    end = data.find(_EMPTY_LINE, line.end() - 2)
                    if end >= 0:
                        return end + 4 - kept
                    self._keep(data[at:], _TRAILERS_LIMIT)
                    break
                at = line.end()
        return OPEN

    def _skipped(self, found: bytes) -> int:
        if not _LINE_END[2 - self._skip :].startswith(found):
            msg = "a chunk of a body is longer than its size says"
            raise BrokenFraming(msg)
        self._skip -= len(found)
        return len(found)

    def _keep(self, beginning: bytes, limit: int) -> None:
        """Keep the beginning of what can only be read whole, unless it can come to nothing."""
        if len(beginning) > limit:
            msg = "a chunk of a body has no size"
            raise BrokenFraming(msg)
        self._line = beginning


def _whole_chunks(data: bytes, pieces: list[bytes]) -> int:
    """Take the chunks at the beginning that are whole, as nearly all are; return how far.

    Their sizes are plain digits. All else, an extension, the last chunk, or one that breaks the
    rule, is left where it is.
    """
    at, length, known = 0, len(data), _PLAIN_SIZES.get
    while at < length:
        begin = at + _PLAIN_LINE
        size = known(data[at:begin])
        if size is None:
            line = _PLAIN_SIZE_LINE.match(data, at)
            if line is None:
                break
            begin = line.end()
            size = int(line[1], 16)
            if begin - at == _PLAIN_LINE:
                _PLAIN_SIZES[line[0]] = size
        end = begin + size
        if data[end : end + 2] != _LINE_END:
            break
        pieces.append(data[begin:end])
        at = end + 2
    return at


def framing_of(status: int, coding: str | None, length: str | None) -> Framing | None:
    """Return the framing of the body behind a head; None where none can follow.

    Args:
        status: The answer's status.
        coding: The header `Transfer-Encoding`, None where it is not there.
        length: The header `Content-Length`, digits; None where it is not there.
    """
    if status in _BODILESS:
        return None
    if coding == _CHUNKED:
        return Chunked()
    if coding is not None:
        last = coding.rpartition(",")[2].strip()
        return Chunked() if last.lower() == _CHUNKED else UntilClosed()
    if length is None:
        return UntilClosed()
    return Sized(int(length)) if int(length) else None
