"""Verifies the whole log against its chain and its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.audit.entry import ALTERED
from gemini_backend.audit.files.head import BEGIN, HeadError, read_head
from gemini_backend.audit.files.lines import lines_of, link_of
from gemini_backend.audit.files.sealing import GENESIS, Seal

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.audit.files.head import Head
    from gemini_backend.audit.files.lines import Line, Link
    from gemini_backend.audit.files.place import Place

MAX_DEFECTS = 100
_AT_ONCE = 200


class Verdict(NamedTuple):
    """What was found.

    Attributes:
        entries: Lines that were read.
        expected: Entries that there must be.
        defects: Every defect in words, at most 100; the last one says how many more there are.
    """

    entries: int
    expected: int
    defects: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether the log is complete and unchanged."""
        return not self.defects


def verify(
    place: Place, key: Callable[[], bytes], pause: Callable[[], None] = lambda: None
) -> Verdict:
    """Read the whole log, in bounded memory; writers go on meanwhile, and are not looked at.

    Args:
        place: Where the log is.
        key: Gives the log's key; not asked where there is no log.
        pause: Called after each 200 lines, to let others run, or to raise.

    Raises:
        OSError: it cannot be read.
        TimeoutError: another process has had it for 5 seconds.
    """
    if not place.folder.exists() and not place.head.exists():
        return Verdict(0, 0, ())
    place.make()
    return _Verification(place, Seal(key())).run(pause)


class _Verification:
    """One run over the log as it is when it begins."""

    def __init__(self, place: Place, seal: Seal) -> None:
        self._place, self._seal = place, seal
        self._defects: list[str] = []
        self._more = 0
        self._sequence, self._mac = 0, GENESIS
        self._lines = 0
        self._at_head: tuple[int, str] | None = None
        self._one_write = True

    def run(self, pause: Callable[[], None]) -> Verdict:
        with self._place.locked():
            head = self._head()
            sizes = {number: self._place.size(number) for number in self._place.numbers()}
            strangers = self._place.strangers()
        for name in strangers:
            self._found(f"{name[:80]!r} is in the folder of the log and does not belong to it")
        self._names(list(sizes))
        if head == BEGIN:
            self._at_head = (0, BEGIN.mac)
        for number, size in sizes.items():
            for line in lines_of(self._place, number, 0, size):
                self._line(line, head)
                if self._lines % _AT_ONCE == 0:
                    pause()
        self._end(head)
        more = (f"and {self._more} more defects",) if self._more else ()
        expected = self._sequence if head is None else max(head.sequence, self._expected(head))
        return Verdict(self._lines, expected, (*self._defects, *more))

    def _expected(self, head: Head) -> int:
        """Return what entries of the last write, which the head does not count, make of it."""
        return self._sequence if self._one_write else head.sequence

    def _head(self) -> Head | None:
        try:
            head = read_head(self._place.head, self._seal)
        except HeadError as error:
            self._found(f"{error}: the expected length of the log is not known")
            return None
        if head is None and self._place.numbers():
            self._found(f"{self._place.head} is missing: the expected length is not known")
            return None
        return head or BEGIN

    def _names(self, numbers: list[int]) -> None:
        for number in range(1, max(numbers, default=0)):
            if number not in numbers:
                self._found(f"{self._place.file(number).name} is missing")
                if self._more:
                    return

    def _line(self, line: Line, head: Head | None) -> None:
        self._lines += 1
        link = link_of(self._seal, self._mac, line.data)
        where = f"{self._place.file(line.file).name}, byte {line.start}"
        if link is None:
            whole = line.data[-1:] == b"\n" or not line.data
            what = "a line without an entry" if whole else "a piece of an entry"
            self._found(f"{where}: {what}: it was changed, or its write was interrupted")
        else:
            self._link(link, where)
            self._sequence, self._mac = link.entry.sequence, link.mac
            if head is not None and self._at_head is not None:
                self._one_write &= link.entry.batch == head.sequence + 1
        if head is not None and (line.file, line.end) == (head.file, head.offset):
            self._at_head = (self._sequence, self._mac.hex())

    def _link(self, link: Link, where: str) -> None:
        sequence, due = link.entry.sequence, self._sequence + 1
        if sequence > due:
            span = _span(due, sequence - 1)
            self._found(f"{where}: {span} missing before entry {sequence}")
        elif sequence < due:
            self._found(f"{where}: entry {sequence} is repeated, or out of order, after {due - 1}")
        elif not link.holds:
            self._found(f"{where}: entry {sequence}, or the one before it, was changed")
        if link.holds and link.entry.action == ALTERED:
            why = link.entry.details.get("why", "")
            self._found(f"{where}: the server noted in entry {sequence} that {why}")

    def _end(self, head: Head | None) -> None:
        if head is None:
            return
        if self._sequence < head.sequence:
            span = _span(self._sequence + 1, head.sequence)
            self._found(f"{span} missing at the end")
        elif self._at_head != (head.sequence, head.mac):
            self._found(f"entry {head.sequence} is not where {self._place.head.name} has it")
        elif self._sequence > head.sequence and not self._one_write:
            self._found(
                f"{self._place.head.name} counts {head.sequence} entries and there are "
                f"{self._sequence}: it was replaced by an older one"
            )

    def _found(self, defect: str) -> None:
        if len(self._defects) < MAX_DEFECTS - 1:
            self._defects.append(defect)
        else:
            self._more += 1


def _span(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
