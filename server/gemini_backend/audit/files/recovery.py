"""What a writer finds: where the log ends, and whether it is as it was left.

A crash may leave entries of one write that the head does not count yet, which are taken up, or a
piece of a write, which is cut off: nobody was told that it was written. Everything else that does
not fit to the head has been altered; it is left as it is, an entry notes it, and the chain goes on
from the head, so that what is missing stays missing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.audit.entry import ALTERED, TORN, Act
from gemini_backend.audit.files.head import BEGIN, Head, HeadError, read_head
from gemini_backend.audit.files.lines import Line, lines_of, link_of
from gemini_backend.audit.files.sealing import MAX_LINE_BYTES, entry_in, taken_apart

if TYPE_CHECKING:
    from gemini_backend.audit.files.place import Place
    from gemini_backend.audit.files.sealing import Seal

MAX_BATCH = 64
"""Entries of one write."""
_CODE, _REASON = "DATA_LOSS", "AUDIT_LOG_ALTERED"


class Found(NamedTuple):
    """Where the chain goes on, and what is to be noted there first."""

    head: Head
    notes: list[Act]

    @property
    def trusted(self) -> bool:
        """Whether the log is as it was left, apart from an interrupted write."""
        return all(note.action != ALTERED for note in self.notes)


def find(place: Place, seal: Seal, known: Head | None) -> Found:
    """Return where the log ends; `known` is the last head that this process has written.

    To be called by whoever has locked the log. Cuts off what is left of an interrupted write.

    Raises:
        OSError: the log cannot be read, or mended.
    """
    try:
        head, why = read_head(place.head, seal), f"{place.head.name} is missing"
    except HeadError as error:
        head, why = None, str(error)
    numbers = place.numbers()
    if head is None:
        if known is None and not numbers:
            return Found(BEGIN, [])
        base = known or _latest(place, numbers)
        return Found(base, [_altered(f"{why}; entries before this one may be missing")])
    if known is not None and _older(head, known):
        return Found(known, [_altered(f"{place.head.name} was replaced by an older one")])
    return _checked(place, seal, head, numbers)


def _older(head: Head, known: Head) -> bool:
    return head.sequence < known.sequence or (
        head.sequence == known.sequence and head.mac != known.mac
    )


def _checked(place: Place, seal: Seal, head: Head, numbers: list[int]) -> Found:
    if place.size(head.file) < head.offset:
        name = place.file(head.file).name
        why = f"{name} is shorter than it was, or missing; entries were removed"
        return Found(head, [_altered(why)])
    if head.offset and _last_mac(place, head) != head.mac:
        return Found(head, [_altered(f"the entry {head.sequence} is not at its place")])
    return _taken_up(place, seal, head, numbers)


def _taken_up(place: Place, seal: Seal, head: Head, numbers: list[int]) -> Found:
    """Take up entries that the head does not count, of one write at most."""
    batch = head.sequence + 1
    for number in (one for one in numbers if one >= head.file):
        start, end = (head.offset if number == head.file else 0), place.size(number)
        for line in lines_of(place, number, start, end):
            link = link_of(seal, head.previous, line.data)
            if (
                link is None
                or not link.holds
                or link.entry.sequence != head.sequence + 1
                or link.entry.batch != batch
            ):
                return Found(head, [_rest(place, line, end, last=number == numbers[-1])])
            head = Head(link.entry.sequence, link.mac.hex(), number, line.end)
        if number > head.file:
            head = Head(head.sequence, head.mac, number, 0)
    return Found(head, [])


def _rest(place: Place, line: Line, end: int, *, last: bool) -> Act:
    """Cut off a piece of an interrupted write; leave what cannot be one.

    Such a piece ends without a line feed, or has zero bytes where the disk had no time for others,
    which no entry has.
    """
    left = end - line.start
    if last and left <= MAX_BATCH * MAX_LINE_BYTES:
        opened = os.open(place.file(line.file), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            data = os.pread(opened, left, line.start)
            if data[-1:] != b"\n" or b"\0" in data:
                os.ftruncate(opened, line.start)
                os.fsync(opened)
                return Act(TORN, place.file(line.file).name, details={"cut_off_bytes": str(left)})
        finally:
            os.close(opened)
    return _altered(f"{left} bytes after the last entry were not written by this server")


def _last_mac(place: Place, head: Head) -> str:
    """Return the HMAC that the line before the head's offset claims; empty for no such line."""
    start = max(0, head.offset - MAX_LINE_BYTES)
    with place.file(head.file).open("rb") as opened:
        opened.seek(start)
        data = opened.read(head.offset - start)
    sealed = taken_apart(data[data.rfind(b"\n", 0, -1) + 1 :])
    return "" if sealed is None else sealed.mac.hex()


def _latest(place: Place, numbers: list[int]) -> Head:
    """Return the head that the last readable line of the last file would have."""
    number = numbers[-1]
    end = place.size(number)
    found = Head(0, BEGIN.mac, number, end)
    for line in lines_of(place, number, max(0, end - 2 * MAX_LINE_BYTES), end):
        sealed = taken_apart(line.data)
        entry = None if sealed is None else entry_in(sealed.body)
        if sealed is not None and entry is not None:
            found = Head(entry.sequence, sealed.mac.hex(), number, line.end)
    return found


def _altered(why: str) -> Act:
    return Act(ALTERED, code=_CODE, reason=_REASON, details={"why": why})
