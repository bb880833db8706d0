"""A copy that was put back beside the log of another file is refused, never mixed with it.

What is on the disk while a store is open is what a crash leaves.

Covers: stores/file_lock.py
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import StoreUnavailable
from gemini_backend.stores import lineage
from gemini_backend.stores.backup import back_up
from tests.stores.test_sessions import ANN, new, store_at

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_backend.stores.sessions_sqlite import SqliteSessions

NAME = "sessions.db"


async def add(store: SqliteSessions, first: int, count: int) -> None:
    """Make sessions, numbered from `first` on."""
    for number in range(first, first + count):
        await store.create(ANN, new(f"s{number}", number, turns=[b"x" * 500]), 10**6)


async def held(file: Path) -> int | str:
    """Return how many sessions a server finds in a file, or why it refuses it."""
    store = store_at(file)
    try:
        return await store.count()
    except StoreUnavailable as error:
        return error.message
    finally:
        await store.database.aclose()


def crashed(file: Path, to: Path) -> Path:
    """Return the file as a crash at this moment would leave it, in a folder of its own."""
    shutil.copytree(file.parent, to)
    return to / file.name


def copied(file: Path, to: Path) -> Path:
    """Copy a database while it is used, as SQLite's own shell would."""
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
    return to


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the store is."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / NAME


async def test_after_a_crash_everything_is_there(file: Path, tmp_path: Path) -> None:
    """A log beside the database that it is of is replayed, however often both were one before."""
    store = store_at(file)
    await add(store, 0, 3)
    assert 3 == await held(crashed(file, tmp_path / "young"))
    await add(store, 3, 600)  # SQLite takes the log over into the database meanwhile
    assert 603 == await held(crashed(file, tmp_path / "old"))
    await store.database.wipe()
    assert 603 == await held(crashed(file, tmp_path / "whole"))
    await add(store, 603, 1)
    assert 604 == await held(crashed(file, tmp_path / "begun"))
    await store.database.aclose()


@pytest.mark.parametrize("before", [3, 600], ids=["young", "old"])
@pytest.mark.parametrize("how", ["command", "shell", "vacuum"])
async def test_a_copy_beside_the_log_of_another_file_is_refused(
    file: Path, tmp_path: Path, before: int, how: str
) -> None:
    """It is named with what to do, nothing of either is changed, and without the log it is used."""
    store, copy = store_at(file), tmp_path / "copy.db"
    await add(store, 0, before)
    if how == "command":
        back_up(file, copy)
    elif how == "shell":
        copied(file, copy)
    else:
        with closing(sqlite3.connect(file)) as source:
            source.execute(f"VACUUM INTO '{copy}'")
    await add(store, before, 2)
    crash = crashed(file, tmp_path / "crash")
    await store.database.aclose()
    shutil.copy(copy, crash)
    log = lineage.log_of(crash)
    held_before = log.read_bytes(), crash.read_bytes()
    for _ in range(2):
        answer = str(await held(crash))
        assert "is not the file that sessions.db-wal belongs to" in answer
        assert "move sessions.db-wal away" in answer
    assert held_before == (log.read_bytes(), crash.read_bytes())
    log.rename(tmp_path / "away")
    assert before == await held(crash)


async def test_a_database_that_is_gone_is_not_made_anew_beside_its_log(
    file: Path, tmp_path: Path
) -> None:
    """SQLite would delete the log, and with it what only it has."""
    store = store_at(file)
    await add(store, 0, 3)
    crash = crashed(file, tmp_path / "crash")
    await store.database.aclose()
    log = lineage.log_of(crash)
    data = log.read_bytes()
    crash.unlink()
    assert "removed" in str(await held(crash))
    assert data == log.read_bytes()


async def test_a_log_without_marks_is_believed(file: Path, tmp_path: Path) -> None:
    """An earlier version of the server, or another program, has written it."""
    store = store_at(file)
    await add(store, 0, 2)
    await store.database.aclose()
    with closing(sqlite3.connect(file)) as other:
        other.execute("UPDATE sessions SET labels = 'x'")
        other.commit()
        assert 2 == await held(crashed(file, tmp_path / "crash"))


async def test_what_is_no_log_is_left_to_sqlite(file: Path) -> None:
    """An empty log, a cut one, and one of another kind say nothing."""
    store = store_at(file)
    await add(store, 0, 2)
    await store.database.aclose()
    for data in (b"", b"short", b"\0" * 100):
        lineage.log_of(file).write_bytes(data)
        assert lineage.belongs(file)


async def test_servers_share_a_file_while_its_log_grows(file: Path) -> None:
    """One that comes later finds the log of the others, and they go on."""
    first, second = store_at(file), store_at(file)
    await add(first, 0, 300)
    await add(second, 300, 300)
    await first.database.aclose()
    await add(second, 600, 1)
    assert 601 == await held(file)
    await second.database.aclose()
