"""Files of this user only: read with a look at who else may, written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.disk.folders import sync_folder
from gemini_backend.disk.locks import locked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODE = 0o600
_FOLDER_MODE = 0o700
_LOCK_WAIT_SECONDS = 10.0
_PAUSE_SECONDS = 0.01
_MAY_READ = stat.S_IRGRP | stat.S_IROTH
_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class PrivateFile(NamedTuple):
    """What a file has, and whether others than its owner may read or write it."""

    data: bytes
    others_read: bool
    others_write: bool


class UnusableFileError(Exception):
    """A file is not one that can be used; the message says why, without its name."""


def read(file: Path, max_bytes: int) -> PrivateFile:
    """Return what a regular file has; links are followed, pipes and devices refused.

    Raises:
        UnusableFileError: it is no regular file, or larger than allowed.
        OSError: it cannot be read.
    """
    opened = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(opened, "rb") as source:
        found = os.fstat(opened)
        if not stat.S_ISREG(found.st_mode):
            msg = "is not a regular file; give the path of a file"
            raise UnusableFileError(msg)
        data = source.read(max_bytes + 1)
    if len(data) > max_bytes:
        msg = f"is larger than {max_bytes} bytes; is it the right file?"
        raise UnusableFileError(msg)
    return PrivateFile(data, bool(found.st_mode & _MAY_READ), bool(found.st_mode & _MAY_WRITE))


def create(file: Path, data: bytes) -> bool:
    """Write a new file; return False, and change nothing, where there is one already.

    It has its name only once it is complete: another process that comes first wins, and nobody
    reads half of it. On a file system without hard links that needs `alone` as well.

    Raises:
        OSError: it cannot be written.
    """
    draft = _draft(file, data)
    try:
        try:
            os.link(draft, file)
        except FileExistsError:
            return False
        except OSError:
            if file.exists():
                return False
            draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(file.parent)
    return True


def replace(file: Path, data: bytes) -> None:
    """Put a new file in the place of another: whoever reads finds the one or the other.

    Raises:
        OSError: it cannot be written; the old file is as it was.
    """
    draft = _draft(file, data)
    try:
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Let no other process or thread in here at the same time, by a lock file that stays.

    A file system without such locks lets everybody in.

    Raises:
        TimeoutError: another one was in here for 10 s.
        OSError: the lock file cannot be opened.
    """
    lock.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    held = os.open(lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, MODE)
    try:
        end = time.monotonic() + _LOCK_WAIT_SECONDS
        while not locked(held):
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(_PAUSE_SECONDS)
        yield
    finally:
        os.close(held)


def _draft(file: Path, data: bytes) -> Path:
    file.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}.draft")
    opened = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(opened, "wb") as written:
            written.write(data)
            written.flush()
            os.fsync(opened)
    except BaseException:
        draft.unlink()
        raise
    return draft
