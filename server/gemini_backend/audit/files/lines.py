"""Lines of the log's files, forwards, and the links that they make of the chain."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.audit.files.sealing import MAX_LINE_BYTES, entry_in, taken_apart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.audit.entry import Entry
    from gemini_backend.audit.files.place import Place
    from gemini_backend.audit.files.sealing import Seal


class Line(NamedTuple):
    """One line; `data` has no line feed where the file ends without one.

    It is empty for a line that is longer than any of the log's.
    """

    file: int
    start: int
    end: int
    data: bytes


class Link(NamedTuple):
    """What a line claims to be, and whether its HMAC holds after the line before it."""

    entry: Entry
    mac: bytes
    holds: bool


def lines_of(place: Place, number: int, start: int, end: int) -> Iterator[Line]:
    """Yield the lines of a file between two offsets; in bounded memory, whatever it has.

    Raises:
        OSError: it cannot be read.
    """
    with place.file(number).open("rb") as opened:
        opened.seek(start)
        at = start
        while at < end:
            begin, data = at, opened.readline(min(MAX_LINE_BYTES, end - at))
            at += len(data)
            last = data
            while last and last[-1:] != b"\n" and at < end:
                last = opened.readline(min(MAX_LINE_BYTES, end - at))
                at += len(last)
                data = b""
            if at == begin:
                return  # it has become shorter meanwhile, which its length will show
            yield Line(number, begin, at, data)


def link_of(seal: Seal, previous: bytes, data: bytes) -> Link | None:
    """Return what a line is after the line with the HMAC `previous`; None for no entry at all."""
    sealed = taken_apart(data)
    entry = None if sealed is None else entry_in(sealed.body)
    if sealed is None or entry is None:
        return None
    return Link(entry, sealed.mac, seal.entry(previous, sealed.body) == sealed.mac)
