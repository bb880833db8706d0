"""The file of the revisions: one line each, the latest last, only ever appended to.

It is text that an operator can read. What was appended is on the disk when `append` returns. A
line without its end, at the end of the file, is one whose writer was interrupted: nobody was told
that it is in force, and it is dropped. Any other fault is damage, and is never passed over.

One process at a time writes: it holds a lock on the folder (`flock`), which ends with it.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.config.errors import DamagedHistory, NotKept, Problem
from gemini_backend.config.revisions.lines import DamagedLineError, line_of, revision_of
from gemini_backend.config.revisions.revision import MAX_REVISIONS, Revision
from gemini_backend.disk import locked, sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_backend.config.sources import Given

_FOLDER, _NAME = "config", "revisions.jsonl"
_MAX_BYTES = 256 * 2**20
_log = logging.getLogger(__name__)


def file_in(state_dir: str) -> Path:
    """Return where the revisions are below `state.dir`."""
    return Path(state_dir).expanduser() / _FOLDER / _NAME


class RevisionFile:
    """Holds at most twice `MAX_REVISIONS` lines; then the older half is discarded.

    Blocking: `load` is called before the server serves, `append` in a thread.
    """

    def __init__(self, file: Path) -> None:
        """Use `file`, which is made, for this user only, when there is something to write."""
        self.file = file
        self._lines: list[bytes] = []
        self._size = 0  # of the file as this process left it, torn line included
        self._held: int | None = None

    def load(self, sources: Mapping[str, Given]) -> list[Revision]:
        """Return the revisions that the file has, oldest first; none if there is no file.

        Args:
            sources: What the sources say now, for what no line has.

        Raises:
            DamagedHistory: the file cannot be read, or not all of it.
        """
        try:
            with self.file.open("rb") as opened:
                data = opened.read(_MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            msg = (
                f"{self.file} cannot be read ({error.strerror}), and it has the settings that were "
                "changed while the server ran; let this user read it, or set revisions.store to "
                "memory"
            )
            raise DamagedHistory(Problem("state.dir", msg)) from error
        if len(data) > _MAX_BYTES:
            raise self._damaged("is larger than 256 MiB")
        whole, _, torn = data.rpartition(b"\n")
        if torn or b"\0" in whole:
            whole = self._without_torn(data)
        self._lines = [line + b"\n" for line in whole.split(b"\n") if line]
        self._size = len(data)
        return self._revisions(sources)

    def append(self, revisions: Sequence[Revision]) -> None:
        """Write revisions, and return when they are on the disk.

        Raises:
            NotKept: they are not; the file is as it was.
        """
        new = [line_of(one) for one in revisions]
        try:
            self._join()
            if len(self._lines) + len(new) > 2 * MAX_REVISIONS:
                self._shorten()
            self._add(new)
        except OSError as error:
            raise self._not_kept(f"cannot be written ({error.strerror or error})") from error

    def close(self) -> None:
        """Let others write."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _revisions(self, sources: Mapping[str, Given]) -> list[Revision]:
        found: list[Revision] = []
        for number, line in enumerate(self._lines, 1):
            try:
                one = revision_of(line[:-1], sources)
            except DamagedLineError as error:
                raise self._damaged(f"is damaged: line {number}: {error}") from None
            if found and one.number != found[-1].number + 1:
                missing = found[-1].number + 1
                raise self._damaged(f"is damaged: line {number}: revision {missing} is missing")
            found.append(one)
        return found[-MAX_REVISIONS:]

    def _without_torn(self, data: bytes) -> bytes:
        """Return what comes before a line whose writer was interrupted, and log that there is one.

        Such a line has no end, or holds zeros in place of what never reached the disk.
        """
        end = data.rfind(b"\n", 0, len(data) - 1) + 1
        last = data[end:]
        if last.endswith(b"\n") and b"\0" not in last:
            return data[:-1]
        facts = {"file": str(self.file), "bytes": len(last)}
        _log.warning("config_revision_torn", extra=facts)
        return data[:end].removesuffix(b"\n")

    def _join(self) -> None:
        """Be the one that writes, and see that nobody else has written.

        Raises:
            NotKept: another process writes, or has.
            OSError: the folder or the file cannot be opened.
        """
        if self._held is None:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = os.open(self.file.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
            if not locked(held):
                os.close(held)
                raise self._not_kept("is in use by another server")
            self._held = held
        size = self.file.stat().st_size if self.file.exists() else 0
        if size != self._size:
            raise self._not_kept("was changed by another process; restart this server")

    def _add(self, new: list[bytes]) -> None:
        fresh, good = not self.file.exists(), sum(map(len, self._lines))
        opened = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(opened, good)  # without a torn line, if there is one
            _write(opened, b"".join(new), good)
            os.fsync(opened)
            if fresh:
                self._sync_folder()
            self._lines += new
        except OSError:
            with suppress(OSError):
                os.ftruncate(opened, good)
            raise
        finally:
            self._size = os.fstat(opened).st_size
            os.close(opened)

    def _shorten(self) -> None:
        """Put a file with the latest lines in place of the old one, at once."""
        lines = self._lines[-MAX_REVISIONS:]
        beside = self.file.with_suffix(".new")
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(opened, b"".join(lines), 0)
            os.fsync(opened)
        finally:
            os.close(opened)
        beside.replace(self.file)
        self._lines, self._size = lines, sum(map(len, lines))
        self._sync_folder()

    def _sync_folder(self) -> None:
        """Have the names of the file and of its folder on the disk."""
        for folder in (self.file.parent, self.file.parent.parent):
            sync_folder(folder)

    def _damaged(self, what: str) -> DamagedHistory:
        msg = (
            f"{self.file} {what}; it has the settings that were changed while the server ran: "
            "restore it, or move it away to start without them"
        )
        return DamagedHistory(Problem("state.dir", msg))

    def _not_kept(self, what: str) -> NotKept:
        msg = (
            f"{self.file} {what}, and no change is made that is not kept; make it writable for "
            "this server alone, or set revisions.store to memory"
        )
        return NotKept(Problem("revisions.store", msg))


def _write(opened: int, data: bytes, place: int) -> None:
    while data:
        done = os.pwrite(opened, data, place)
        data, place = data[done:], place + done
