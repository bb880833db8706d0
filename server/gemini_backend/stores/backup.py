"""A copy of the store of sessions: made while servers use it, and put back while none does."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.disk import sync_folder
from gemini_backend.stores import lineage
from gemini_backend.stores.file_lock import ForeignLogError, alone, join
from gemini_backend.stores.sessions_sqlite import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_TABLES = ("sessions", "turns")
_BUSY_SECONDS = 10.0


class BackupError(Exception):
    """A copy cannot be made or put back; the message names the fix."""


class Copied(NamedTuple):
    """What a copy holds, and where the store that it replaced is kept; None for none."""

    sessions: int
    turns: int
    aside: Path | None = None


def back_up(store: Path, target: Path, *, replace: bool = False) -> Copied:
    """Copy a store as it is at one moment to a file of its own.

    Servers may use the store meanwhile. The copy has no log beside it, is checked, and appears as a
    whole or not at all.

    Raises:
        BackupError: there is no store, the target exists and is not to be replaced, or either
            cannot be used.
    """
    if not store.is_file():
        msg = f"there is no store at {store}: no session was ever used with this state.dir"
        raise BackupError(msg)
    if target.exists() and not replace:
        msg = f"{target} exists; choose another file, or add --replace"
        raise BackupError(msg)
    with (
        _explained(f"cannot copy {store} to {target}"),
        _held(store, join),
        _draft(target) as draft,
    ):
        copied = _copy(store, draft)
        draft.replace(target)
        sync_folder(target.parent)
    return copied


def restore(source: Path, store: Path) -> Copied:
    """Put a copy in the place of a store that no server uses; the former one is kept beside it.

    Raises:
        BackupError: the copy is damaged or is not a copy of a store, a server uses the store, or a
            file cannot be written.
    """
    if not source.is_file():
        msg = f"there is no file {source}; name a file that `sessions backup` has made"
        raise BackupError(msg)
    with _explained(f"cannot restore {source} to {store}"):
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _held(source, join), _held(store, alone), _draft(store) as draft:
            copied = _copy(source, draft)
            aside = _keep(store)
            draft.replace(store)
            # only now: what is left here after a crash is refused by the server
            for left in (lineage.log_of(store), lineage.index_of(store)):
                left.unlink(missing_ok=True)
            sync_folder(store.parent)
    return copied._replace(aside=aside)


def _copy(source: Path, draft: Path) -> Copied:
    """Copy a database, give the copy a mark of its own, and check it.

    Raises:
        BackupError: it is damaged, or not a store.
        sqlite3.Error, OSError: a file cannot be used.
    """
    address = f"{source.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(draft, isolation_level=None)) as copy:
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as original:
            original.backup(copy)
        _check(copy, source)
        copy.execute("PRAGMA journal_mode = DELETE")
        copy.execute("BEGIN IMMEDIATE")
        lineage.prepare(copy)
        lineage.advance(copy)
        copy.execute("COMMIT")
        (sessions,) = copy.execute("SELECT count(*) FROM sessions").fetchone()
        (turns,) = copy.execute("SELECT count(*) FROM turns").fetchone()
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    return Copied(sessions, turns)


def _check(copy: sqlite3.Connection, source: Path) -> None:
    """Refuse what no server could use.

    Raises:
        BackupError: it is so.
    """
    (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        msg = f"{source} is damaged ({' '.join(found.split())}); use another copy"
        raise BackupError(msg)
    tables = {name for (name,) in copy.execute("SELECT name FROM sqlite_master")}
    if not tables.issuperset(_TABLES):
        msg = f"{source} is not a store of sessions; name a file that `sessions backup` has made"
        raise BackupError(msg)
    (version,) = copy.execute("PRAGMA user_version").fetchone()
    if version > len(SCHEMA):
        msg = (
            f"{source} was written by a later version of this server (schema {version}, this one "
            f"knows {len(SCHEMA)}); use that version"
        )
        raise BackupError(msg)


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Give an empty file beside the target, for this user only; it is gone in the end."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.part")
    os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        yield draft
    finally:
        for left in (draft, draft.with_name(f"{draft.name}-journal")):
            left.unlink(missing_ok=True)


@contextmanager
def _held(file: Path, hold: Callable[[Path], int | None]) -> Iterator[None]:
    """Hold a lock on a file.

    Raises:
        BackupError: somebody uses it, or the log beside it is that of another file.
    """
    try:
        held = hold(file)
    except BlockingIOError:
        msg = f"a server uses {file}; stop it, then retry"
        raise BackupError(msg) from None
    except ForeignLogError as error:
        msg = f"{file} {error}"
        raise BackupError(msg) from None
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def _keep(store: Path) -> Path | None:
    """Give the store and its log a second name each; return that of the store."""
    if not store.exists():
        return None
    aside = store.with_name(f"{store.name}.before-restore-{time.strftime('%Y%m%dT%H%M%S')}")
    aside.hardlink_to(store)
    with suppress(FileNotFoundError):
        lineage.log_of(aside).hardlink_to(lineage.log_of(store))
    return aside


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        msg = f"{what}: {error}; check that the file is a database, and the disk's free space"
        raise BackupError(msg) from error
    except OSError as error:
        msg = f"{what}: {error.strerror}; check the path, its permissions and the disk"
        raise BackupError(msg) from error
