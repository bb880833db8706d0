"""Reads the log from its end: the latest entries first, a bounded piece at a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.audit.entry import Entry
from gemini_backend.audit.files.lines import Line
from gemini_backend.audit.files.sealing import MAX_LINE_BYTES, entry_in, taken_apart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gemini_backend.audit.files.place import Place

MAX_LINES = 20_000
"""Lines that are read for a page at most; one with fewer entries may be followed by others."""
UNREADABLE = "unreadable"
"""Action of what stands for a line that is not an entry."""


class Position(NamedTuple):
    """A place between two lines: the number of the file, and the bytes before it."""

    file: int
    offset: int


class Page(NamedTuple):
    """Entries, the latest first, and where the next page begins; None at the beginning."""

    entries: list[Entry]
    next: Position | None


def read_page(
    place: Place, before: Position | None, size: int, wanted: Callable[[Entry], bool]
) -> Page:
    """Return the latest entries before a position, at most `size`; None for the end of the log.

    HMACs are not looked at: `verification.py` does. What cannot be read as an entry has one in its
    place, with the sequence 0.

    Raises:
        ValueError: there is no such position.
        OSError: the log cannot be read.
    """
    found: list[Entry] = []
    for count, line in enumerate(_lines(place, before), 1):
        entry = _entry(place, line)
        if entry.sequence == 0 or wanted(entry):
            found.append(entry)
        if len(found) == size or count == MAX_LINES:
            at = Position(line.file, line.start)
            return Page(found, at if _goes_on(place, at) else None)
    return Page(found, None)


def _goes_on(place: Place, at: Position) -> bool:
    return at.offset > 0 or any(number < at.file for number in place.numbers())


def _lines(place: Place, before: Position | None) -> Iterator[Line]:
    numbers = place.numbers()
    if before is not None:
        _check(place, before, numbers)
        numbers = [number for number in numbers if number <= before.file]
    for number in reversed(numbers):
        first = before is not None and number == before.file
        end = before.offset if before is not None and first else place.size(number)
        for line in _backwards(place.file(number), number, end):
            # the end of the log is being written, or its write was interrupted
            if line.data[-1:] != b"\n" and before is None and number == numbers[-1]:
                continue
            yield line


def _check(place: Place, at: Position, numbers: list[int]) -> None:
    """Refuse a position that is not between two lines.

    Raises:
        ValueError: it is so.
    """
    if at.file in numbers and 0 <= at.offset <= place.size(at.file):
        if at.offset == 0:
            return
        with place.file(at.file).open("rb") as opened:
            opened.seek(at.offset - 1)
            if opened.read(1) == b"\n":
                return
    msg = f"there is no line that ends at byte {at.offset} of file {at.file}"
    raise ValueError(msg)


def _backwards(file: Path, number: int, end: int) -> Iterator[Line]:
    """Yield the lines of a file before an offset, the last one first; in bounded memory.

    Of a line that is longer than any entry, the data are not whole.
    """
    with file.open("rb") as opened:
        data, start = b"", end
        while end > 0:
            cut = data.rfind(b"\n", 0, -1)
            if cut < 0 and start > 0:
                length = min(start, MAX_LINE_BYTES)
                start -= length
                opened.seek(start)
                data = opened.read(length) + data[-2 * MAX_LINE_BYTES :]
                continue
            begin = start + cut + 1
            yield Line(number, begin, end, data[cut + 1 :])
            data, end = data[: cut + 1], begin


def _entry(place: Place, line: Line) -> Entry:
    sealed = taken_apart(line.data)
    entry = None if sealed is None else entry_in(sealed.body)
    if entry is not None:
        return entry
    where = f"{place.file(line.file).name}, byte {line.start}"
    return Entry(
        0, 0, datetime.fromtimestamp(0, UTC), "", "", "", UNREADABLE, where, "DATA_LOSS", "", {}
    )
