"""Where the log is on disk, and who may write to it at a time."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.config import Config

MAX_FILE_BYTES = 64 * MIB
"""A file that has so many bytes is followed by the next one; none is ever deleted."""
_FOLDER, _HEAD, _LOCK = "audit", "audit.head", "lock"
_NAME = re.compile(r"audit-(\d{6,9})\.jsonl")
_WAIT_SECONDS, _PAUSE_SECONDS = 5.0, 0.002


class Place(NamedTuple):
    """The log's folder, and the file of its head, which is outside of it."""

    folder: Path
    head: Path

    def file(self, number: int) -> Path:
        """Return the path of the log's file of a number, from 1."""
        return self.folder / f"audit-{number:06}.jsonl"

    def numbers(self) -> list[int]:
        """Return the numbers of the files that are there, ascending."""
        names = self._names()
        found = [int(match[1]) for name in names if (match := _NAME.fullmatch(name))]
        return sorted({number for number in found if self.file(number).name in names})

    def strangers(self) -> list[str]:
        """Return the names of what is in the folder and belongs to no log, sorted."""
        own = {_LOCK, *(self.file(number).name for number in self.numbers())}
        return sorted(self._names() - own)

    def _names(self) -> set[str]:
        try:
            return {file.name for file in self.folder.iterdir()}
        except FileNotFoundError:
            return set()

    def size(self, number: int) -> int:
        """Return the bytes of a file; 0 where there is none."""
        try:
            return self.file(number).stat().st_size
        except FileNotFoundError:
            return 0

    def make(self) -> None:
        """Make the folders, for this user only.

        Raises:
            OSError: they cannot be made.
        """
        for folder in (self.folder, self.head.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have the log for oneself: no other process writes meanwhile.

        Raises:
            TimeoutError: another process has had it for 5 seconds.
            OSError: it cannot be locked, or there is no log.
        """
        opened = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(opened)
            yield
        finally:
            os.close(opened)


def place_of(config: Config) -> Place:
    """Return where the configuration has the log."""
    state = Path(config.state.dir).expanduser()
    head = config.audit.head_file
    return Place(state / _FOLDER, Path(head).expanduser() if head else state / _HEAD)


def _lock(opened: int) -> None:
    end = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError("another process has held the lock for 5 s") from None
            time.sleep(_PAUSE_SECONDS)
        else:
            return
