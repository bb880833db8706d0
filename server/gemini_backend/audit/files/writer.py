"""Appends to the log: for one process or several, for a server and for commands beside it."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini_backend.audit.entry import ALTERED, entry_of
from gemini_backend.audit.files.head import Head, write_head
from gemini_backend.audit.files.place import MAX_FILE_BYTES
from gemini_backend.audit.files.recovery import find
from gemini_backend.audit.files.sealing import Seal
from gemini_backend.disk import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.audit.entry import Act
    from gemini_backend.audit.files.place import Place


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Writer:
    """Writes entries; each call reads, writes and waits for the disk, so it belongs in a thread.

    Attributes:
        altered: Why the log was found altered, the latest time; empty while it never was.
    """

    def __init__(
        self,
        place: Place,
        key: Callable[[], bytes],
        *,
        now: Callable[[], datetime] = _utc_now,
        max_file_bytes: int = MAX_FILE_BYTES,
    ) -> None:
        """Open nothing yet.

        Args:
            place: Where the log is.
            key: Gives the key of 32 bytes; asked at the first write.
            now: Gives the time, UTC.
            max_file_bytes: A file that has so many is followed by the next one.
        """
        self._place = place
        self._key = key
        self._now = now
        self._max_file_bytes = max_file_bytes
        self._seal: Seal | None = None
        self._known: Head | None = None
        self.altered = ""

    def append(self, acts: Sequence[Act]) -> int:
        """Write acts, at most `MAX_BATCH`; return the sequence of the last one, once it is on disk.

        Raises:
            OSError: they cannot be written, and nothing of them counts. After a failure of the
                disk they may be there all the same.
            TimeoutError: another process has had the log for 5 seconds.
        """
        if self._seal is None:
            self._seal = Seal(self._key())
        self._place.make()
        with self._place.locked():
            found = find(self._place, self._seal, self._known)
            if found.trusted:
                self._count(found.head, self._seal)  # so that no two writes are ahead of it
            return self._write(found.head, [*found.notes, *acts], self._seal)

    def _count(self, head: Head, seal: Seal) -> None:
        """Write the head, unless this process has written the same."""
        if self._known != head:
            write_head(self._place.head, head, seal)
            self._known = head

    def _write(self, head: Head, acts: Sequence[Act], seal: Seal) -> int:
        number = max([head.file, *self._place.numbers()])
        size = self._place.size(number)
        if size >= self._max_file_bytes:
            number, size = number + 1, 0
        data, last = self._lines(head, acts, seal)
        end = self._store(number, size, data)
        self._count(Head(last.sequence, last.mac, number, end), seal)
        for act in acts:
            if act.action == ALTERED:
                self.altered = act.details["why"]
        return last.sequence

    def _lines(self, head: Head, acts: Sequence[Act], seal: Seal) -> tuple[bytes, Head]:
        """Return the lines of acts that follow `head`, and the head after them, without a place."""
        batch, now, mac, lines = head.sequence + 1, self._now(), head.previous, []
        for sequence, act in enumerate(acts, batch):
            line, mac = seal.line(mac, entry_of(act, sequence, batch, now))
            lines.append(line)
        return b"".join(lines), Head(head.sequence + len(lines), mac.hex(), 0, 0)

    def _store(self, number: int, size: int, data: bytes) -> int:
        """Append bytes to a file of so many; return how many it has then, on disk.

        Raises:
            OSError: they cannot be written; what was is cut off again, if that is possible.
        """
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        opened = os.open(self._place.file(number), flags, 0o600)
        try:
            if size and os.pread(opened, 1, size - 1) != b"\n":
                data = b"\n" + data  # an altered file: its last line is to be the only bad one
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(opened, rest) :]
                os.fsync(opened)
            except OSError:
                with suppress(OSError):  # the next writer does it
                    os.ftruncate(opened, size)
                raise
        finally:
            os.close(opened)
        if not size:
            sync_folder(self._place.folder)
        return size + len(data)
