"""One SQLite database, used by one thread of its own, so that the event loop never waits for it.

A job is a function that is handed the connection and is one transaction. Jobs are done in the order
in which they were given. The database is opened by the first job, and again after it was lost: a
file that was locked or damaged is taken up as soon as somebody has mended it.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from gemini_backend.descriptors import none_left, ran_out
from gemini_backend.errors import ServiceError, StoreUnavailable
from gemini_backend.stores import lineage
from gemini_backend.stores.file_lock import ForeignLogError, join
from gemini_backend.stores.one_thread import OneThread
from gemini_backend.telemetry.events import SILENT, StoreVisited

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Publisher

T = TypeVar("T")
Part = str | Callable[[sqlite3.Connection], None]

MAX_WAITING = 1000
BUSY_SECONDS = 1.0
# A job that had to wait for longer behind others is refused, so that a lock fails them all soon.
PATIENCE_SECONDS = 5.0
_MODE_TRIES = 100

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DENIED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
_PRIMARY_CODE = 0xFF

_log = logging.getLogger(__name__)


class Database:
    """Runs jobs on one database; see the module."""

    def __init__(
        self,
        file: Path | None,
        schema: Iterable[Part],
        *,
        clock: Clock,
        power: bool,
        bus: Publisher = SILENT,
        store: str = "sessions",
    ) -> None:
        """Stand ready; nothing is opened yet.

        Args:
            file: Where it is; None for memory. Its folder is made, for this user only.
            schema: What makes a new database, or brings an older one up to date, part by part:
                statements, or a function of the connection. How many parts there are is the
                schema's version.
            clock: Times the jobs.
            power: Whether a commit waits until it would outlive a loss of power.
            bus: Where each job is published.
            store: What is kept in it, as metrics call it.
        """
        self.problem = ""  # what is to be mended; empty while all is well
        self.used = False
        self._unwritten = False  # a write has failed, and none has succeeded since
        self._said: set[str] = set()
        self._held: int | None = None
        self._file = file
        self._schema = tuple(schema)
        self._clock = clock
        self._bus = bus
        self._store = store
        self._power = power
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self._thread = OneThread("sqlite")
        self._waiting = 0

    async def run(
        self,
        operation: str,
        job: Callable[[sqlite3.Connection], T],
        *,
        writes: bool = False,
        tries: bool = False,
    ) -> T:
        """Do a job and return what it gives; one that was cancelled may have been done.

        One that `writes` changes something. One that `tries` fails where a write would fail, and
        changes nothing: that it has succeeded need not outlive a loss of power. `operation` is its
        name in metrics.

        Raises:
            StoreUnavailable: the database cannot be used; or more than `MAX_WAITING` jobs wait.
            ServiceError: the job raised it; nothing has changed.
        """
        if self._waiting >= MAX_WAITING:
            msg = f"{MAX_WAITING} operations are waiting for the store; retry"
            raise StoreUnavailable(msg, retry_after=BUSY_SECONDS)
        began = self._clock.now()
        self._waiting += 1
        failed = True

        def work() -> T:
            if self._clock.now() - began > PATIENCE_SECONDS:
                late = f"did not start an operation within {PATIENCE_SECONDS:g} s"
                raise self._unusable(late, "retry")
            return self._do(job, writes=writes, tries=tries)

        try:
            given = await self._thread.run(work)
            failed = False
        except sqlite3.Error as error:
            raise self._unavailable(error) from error
        except OSError as error:
            raise self._unusable(f"cannot be opened ({error.strerror})", _fix(error)) from error
        except ServiceError as error:
            failed = isinstance(error, StoreUnavailable)
            raise
        finally:
            self._waiting -= 1
            seconds = self._clock.now() - began
            self._unwritten |= failed and (writes or tries)
            self._bus.publish(StoreVisited(self._store, operation, seconds, failed))
        self.used = True
        if writes or tries or not self._unwritten:
            self._recovered()
        return given

    async def wipe(self) -> None:
        """Take what was deleted out of the write-ahead log too, where it would stand for a while.

        Where another process is reading, that is left to a later time.

        Raises:
            StoreUnavailable: the database cannot be used.
        """
        await self.run("wipe", _checkpoint)

    async def aclose(self) -> None:
        """Finish what was asked for, and close."""
        await self._thread.run(self._close)
        self._thread.close()

    def _do(self, job: Callable[[sqlite3.Connection], T], *, writes: bool, tries: bool) -> T:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._open()
            self._opened = self._place()
        elif self._place() != self._opened:
            # what is written now would be in a file that nobody finds again; and closing it would
            # take away the write-ahead log of a file that was put in its place
            what = "was moved, deleted or replaced while the server ran"
            raise self._unusable(what, "restore it, or restart the server")
        if job is _checkpoint:
            return job(connection)
        slack = tries and not writes and self._power
        if slack:
            connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE" if writes or tries else "BEGIN")
        try:
            if writes or tries:
                lineage.advance(connection)
            given = job(connection)
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if _code(error) in _DAMAGED:
                self._close()
            raise
        finally:
            if self._connection is not None and connection.in_transaction:
                connection.execute("ROLLBACK")
            if self._connection is not None and slack:
                connection.execute("PRAGMA synchronous = FULL")
        return given

    def _place(self) -> tuple[int, int] | None:
        """Return which file stands where the database is; None for none, or for memory."""
        try:
            found = None if self._file is None else self._file.stat()
        except FileNotFoundError:
            return None
        return None if found is None else (found.st_dev, found.st_ino)

    def _open(self) -> sqlite3.Connection:
        if self._file is not None:
            self._hold(self._file)
        try:
            connection = sqlite3.connect(
                self._file or ":memory:",
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except BaseException:
            self._let_go()
            raise
        try:
            _write_ahead(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._power else 'NORMAL'}")
            connection.execute("PRAGMA secure_delete = ON")
            self._prepare(connection)
        except BaseException:
            connection.close()
            self._let_go()
            raise
        return connection

    def _hold(self, file: Path) -> None:
        """Make the file, unless it is there, and keep others from putting another in its place.

        Raises:
            StoreUnavailable: it is being restored, or the log beside it is that of another file.
            OSError: it cannot be opened.
        """
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._held = join(file)
        except ForeignLogError as error:
            what, fix = str(error).split("; ", 1)
            raise self._unusable(what, fix) from None
        except BlockingIOError:
            raise self._unusable("is being restored", "retry in a moment") from None

    def _let_go(self) -> None:
        """Give up the lock; only once SQLite has closed the file, whose own locks go with it."""
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Bring the schema to this version; several processes may do so at once.

        Raises:
            StoreUnavailable: a later version of the server made it.
        """
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        ours = len(self._schema)
        if version < ours:
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            for part in self._schema[version:]:
                if callable(part):
                    part(connection)
                    continue
                for statement in part.split(";"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {ours}")
            connection.execute("COMMIT")
        if version <= ours and not connection.execute(_MARKED).fetchone():
            connection.execute("BEGIN IMMEDIATE")
            lineage.prepare(connection)
            connection.execute("COMMIT")
            _checkpoint(connection)  # so that what follows continues a database that has a mark
        if version > ours:
            raise self._unusable(
                f"was written by a later version of this server (schema {version}, this one "
                f"knows {ours})",
                "run that version, or set state.dir to another directory",
            )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._let_go()

    def _unavailable(self, error: sqlite3.Error) -> StoreUnavailable:
        code = _code(error)
        if code == sqlite3.SQLITE_CANTOPEN and none_left():
            return self._unusable("cannot be opened: no file descriptor is free", _DESCRIPTORS)
        for codes, what, fix in _CAUSES:
            if code in codes:
                return self._unusable(what, fix)
        return self._unusable(f"failed ({error})", "check the server's log")

    def _unusable(self, what: str, fix: str) -> StoreUnavailable:
        name = "the store in memory" if self._file is None else f"{self._file.name} in state.dir"
        message = f"{name} {what}: {fix}"
        self._note(message)
        return StoreUnavailable(message, retry_after=BUSY_SECONDS)

    def _note(self, message: str) -> None:
        """Keep the problem; each is logged once, until the store can be used again."""
        if message not in self._said:
            self._said.add(message)
            _log.error("store", extra={"problem": message, "file": str(self._file)})
        self.problem = message

    def _recovered(self) -> None:
        if self.problem:
            _log.info("store_recovered", extra={"file": str(self._file)})
        self.problem, self._unwritten = "", False
        self._said.clear()


_RIGHTS = "give the user of this server write permission there, or set state.dir"
_DESCRIPTORS = "raise the limit of the process (ulimit -n, LimitNOFILE), or retry"
_CAUSES = (
    (_BUSY, "is locked by another process", "stop that process, or retry"),
    (_DENIED, "cannot be written", _RIGHTS),
    (
        _DAMAGED,
        "is damaged, or not a database",
        "restore a backup, or move the file away to start with an empty store",
    ),
    ({sqlite3.SQLITE_FULL}, "cannot be written: the disk is full", "free some space"),
    (
        {sqlite3.SQLITE_IOERR},
        "cannot be read or written",
        "check the disk and its free space",
    ),
)
_MARKED = "SELECT 1 FROM sqlite_master WHERE name = 'lineage'"


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep a write-ahead log; SQLite does not wait for others who change that, so this does.

    Raises:
        sqlite3.OperationalError: somebody has the file locked for longer than `BUSY_SECONDS`.
    """
    connection.execute("PRAGMA busy_timeout = 0")  # it would wait for some of them, not for all
    for left in reversed(range(_MODE_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not left or _code(error) not in _BUSY:
                raise
            time.sleep(BUSY_SECONDS / _MODE_TRIES)
        else:
            break
    connection.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")


def _fix(error: OSError) -> str:
    """Return what helps against an error of opening the file or making its folder."""
    if ran_out(error):
        return _DESCRIPTORS
    if isinstance(error, IsADirectoryError):
        return "a directory has its name; move it away, or set state.dir"
    if error.errno in _NO_SPACE:
        return "check the disk and its free space"
    return _RIGHTS


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code; -1 for an error of the module's own."""
    code: int = getattr(error, "sqlite_errorcode", -1)
    return code & _PRIMARY_CODE if code >= 0 else code
