"""Whether a database and the write-ahead log beside it belong together.

SQLite replays a write-ahead log over whatever file has the database's name. Where a copy was put
back beside the log of the file that it replaces, that makes a mixture of both. So each transaction
marks the database: with an id of its own, and the id of the one before. What the log begins with
names the state that it continues; a database in any other state is not the one that it is of.

The marks are read from the files themselves, before SQLite touches them.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_MAGIC = bytes.fromhex("8f4c1e07b5d3629a00fec8417b2d95e6")
_NOTHING = bytes(16)
# what `||` makes of blobs is a text
_ADVANCE = (
    "UPDATE lineage SET mark = "
    "CAST(substr(mark, 1, 16) || substr(mark, 33, 16) || randomblob(16) AS BLOB)"
)
_MARK_BYTES = 48  # magic, the id before, its own id
_WAL_HEAD = struct.Struct(">8I")
_FRAME_HEAD = struct.Struct(">6I")
_WAL_MAGICS = (0x377F0682, 0x377F0683)
_LEAF = b"\x0d"
# Where the shared memory beside the log says how many frames of it are in the database already.
_BACKFILLED = slice(96, 100)


class _Mark(NamedTuple):
    """One transaction in a log: its last frame, its mark's page, and the ids."""

    frame: int
    page: int
    before: bytes
    own: bytes


def log_of(file: Path) -> Path:
    """Return where the write-ahead log of a database is."""
    return file.with_name(f"{file.name}-wal")


def index_of(file: Path) -> Path:
    """Return where the shared memory of a database in use is."""
    return file.with_name(f"{file.name}-shm")


def prepare(connection: sqlite3.Connection) -> None:
    """Make the mark where a database has none yet; within a transaction."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS lineage (only INTEGER PRIMARY KEY CHECK (only = 1), mark BLOB)"
    )
    mark = _MAGIC + _NOTHING + os.urandom(16)
    connection.execute("INSERT OR IGNORE INTO lineage VALUES (1, ?)", (mark,))


def advance(connection: sqlite3.Connection) -> None:
    """Give the transaction that is open an id of its own."""
    connection.execute(_ADVANCE)


def belongs(file: Path) -> bool:
    """Return whether the log beside a database, if there is any, is a log of that database.

    A log that no server of this version has written has no marks, and is believed.

    Raises:
        OSError: a file cannot be read.
    """
    try:
        log = log_of(file).open("rb")
    except FileNotFoundError:
        return True
    with log:
        marks = list(_marks(log))
        if not marks:
            return True
        size = _page_bytes(log)
    first, last = marks[0], marks[-1]
    own = _own_id(file, size, last.page)
    if own is None:
        return first.before == _NOTHING and file.exists() and file.stat().st_size > 0
    if own in {first.before, last.own}:
        return True
    # a reader of long may have kept the log from being taken over as a whole
    held = next((mark.frame for mark in marks if mark.own == own), None)
    return held is not None and _backfilled(file) >= held


def _page_bytes(log: BinaryIO) -> int:
    log.seek(8)
    size: int = struct.unpack(">I", log.read(4))[0]
    return size


def _marks(log: BinaryIO) -> Iterator[_Mark]:
    """Yield the mark of each transaction in a log that has one."""
    head = log.read(_WAL_HEAD.size)
    if len(head) < _WAL_HEAD.size:
        return
    magic, _, size, _, *salts, _, _ = _WAL_HEAD.unpack(head)
    if magic not in _WAL_MAGICS:
        return
    frame, found = 0, None
    while len(raw := log.read(_FRAME_HEAD.size)) == _FRAME_HEAD.size:
        number, commit, *own_salts, _, _ = _FRAME_HEAD.unpack(raw)
        page = log.read(size)
        if own_salts != salts or len(page) < size:  # of the log before this one, or cut short
            return
        frame += 1
        if (ids := _ids(page)) is not None:
            found = (number, *ids)
        if commit and found is not None:
            yield _Mark(frame, *found)
            found = None


def _ids(page: bytes) -> tuple[bytes, bytes] | None:
    """Return the ids in a page, which its only row ends with; None for any other page."""
    mark = page[-_MARK_BYTES:]
    if page[:1] != _LEAF or page[3:5] != b"\x00\x01" or not mark.startswith(_MAGIC):
        return None
    return mark[16:32], mark[32:]


def _own_id(file: Path, size: int, page: int) -> bytes | None:
    try:
        with file.open("rb") as opened:
            opened.seek((page - 1) * size)
            ids = _ids(opened.read(size))
    except FileNotFoundError:
        return None
    return None if ids is None else ids[1]


def _backfilled(file: Path) -> int:
    try:
        raw = index_of(file).read_bytes()[_BACKFILLED]
    except FileNotFoundError:
        return 0
    return int(struct.unpack("=I", raw)[0]) if len(raw) == struct.calcsize("I") else 0
