"""Who may use a database's file: many at a time, or one that puts another file in its place.

The locks are the system's own (`flock`), and end with their process. SQLite has others.
"""

from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

from gemini_backend.disk import locked
from gemini_backend.stores import lineage

if TYPE_CHECKING:
    from pathlib import Path

_WAIT_SECONDS = 1.0
_PAUSE_SECONDS = 0.01


class ForeignLogError(Exception):
    """The write-ahead log beside a database is that of another file."""

    def __init__(self, file: Path) -> None:
        """Say so in a sentence that names the fix."""
        log = lineage.log_of(file).name
        super().__init__(
            f"is not the file that {log} belongs to: it was put back, or removed, beside the log "
            f"of another one; move {log} away to use {file.name} as it is, or restore a backup"
        )


def join(file: Path) -> int:
    """Use a file together with others until the descriptor that is returned is closed.

    It is made where there is none, for this user only. Whoever comes first checks that the log
    beside it belongs to it; while others use it, it does.

    Raises:
        ForeignLogError: the log beside it is that of another file.
        BlockingIOError: somebody puts another file in its place.
        OSError: it cannot be opened.
    """
    held = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        if locked(held):
            _check(file)
        _share(held)
    except BaseException:
        os.close(held)
        raise
    return held


def alone(file: Path) -> int | None:
    """Use a file without others until the descriptor is closed; None where there is no file.

    Raises:
        BlockingIOError: others use it.
        OSError: it cannot be opened.
    """
    try:
        held = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if not locked(held):
        os.close(held)
        raise BlockingIOError
    return held


def _check(file: Path) -> None:
    if not lineage.belongs(file):
        raise ForeignLogError(file)


def _share(held: int) -> None:
    """Wait while others are at the check."""
    end = time.monotonic() + _WAIT_SECONDS
    while not locked(held, fcntl.LOCK_SH):
        if time.monotonic() > end:
            raise BlockingIOError
        time.sleep(_PAUSE_SECONDS)
