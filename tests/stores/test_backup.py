"""A copy of the store is made while it is used, and put back while it is not."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gemini_backend.stores.backup import BackupError, back_up, restore
from gemini_backend.stores.sessions_sqlite import SCHEMA
from tests.stores.test_lineage import add, crashed, held
from tests.stores.test_sessions import store_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the store is."""
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "sessions.db"


def names_in(folder: Path) -> set[str]:
    """Return what is in a folder."""
    return {one.name for one in folder.iterdir()}


async def test_a_copy_is_the_store_at_one_moment(file: Path, tmp_path: Path) -> None:
    """It is one file, for this user only, and what is written later is not in it."""
    store, copy = store_at(file), tmp_path / "copy.db"
    await add(store, 0, 3)
    assert (3, 3, None) == back_up(file, copy)
    await add(store, 3, 1)
    assert {"copy.db", "state"} == names_in(tmp_path)
    assert 0o600 == copy.stat().st_mode & 0o777
    assert (4, 3) == (await store.count(), await held(copy))
    await store.database.aclose()


async def test_a_copy_replaces_another_only_if_told_to(file: Path, tmp_path: Path) -> None:
    """A file that is there stays as it is otherwise."""
    store, copy = store_at(file), tmp_path / "copy.db"
    await add(store, 0, 1)
    copy.write_text("precious")
    with pytest.raises(BackupError, match="--replace"):
        back_up(file, copy)
    assert "precious" == copy.read_text()
    assert 1 == back_up(file, copy, replace=True).sessions
    await store.database.aclose()


async def test_a_store_that_is_restored_is_the_copy(file: Path, tmp_path: Path) -> None:
    """The former store is kept with its log, and nothing else is left over."""
    store, copy = store_at(file), tmp_path / "copy.db"
    await add(store, 0, 3)
    back_up(file, copy)
    await add(store, 3, 2)
    crash = crashed(file, tmp_path / "crash")
    await store.database.aclose()
    done = restore(copy, crash)
    assert (3, 3) == (done.sessions, done.turns)
    assert done.aside is not None
    names = {one.name for one in crash.parent.iterdir()}
    assert {crash.name, done.aside.name, f"{done.aside.name}-wal"} == names
    assert (3, 5) == (await held(crash), await held(done.aside))


async def test_a_store_is_not_restored_under_a_server(file: Path, tmp_path: Path) -> None:
    """While one uses it nothing is changed."""
    store, copy = store_at(file), tmp_path / "copy.db"
    await add(store, 0, 1)
    back_up(file, copy)
    await add(store, 1, 1)
    with pytest.raises(BackupError, match="a server uses"):
        restore(copy, file)
    assert 2 == await store.count()
    await store.database.aclose()
    assert 1 == restore(copy, file).sessions


def cut(copy: Path) -> None:
    """Cut a file in half."""
    data = copy.read_bytes()
    copy.write_bytes(data[: len(data) // 2])


def rot(copy: Path) -> None:
    """Overwrite the pages after the first."""
    data = copy.read_bytes()
    copy.write_bytes(data[:4096] + b"\x55" * (len(data) - 4096))


def later(copy: Path) -> None:
    """Make it one of a later version."""
    with closing(sqlite3.connect(copy)) as opened:
        opened.execute(f"PRAGMA user_version = {len(SCHEMA) + 1}")


def other(copy: Path) -> None:
    """Make it a database of something else."""
    copy.unlink()
    with closing(sqlite3.connect(copy)) as opened:
        opened.execute("CREATE TABLE things (a)")


def folder(copy: Path) -> None:
    """Make it a folder."""
    copy.unlink()
    copy.mkdir()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut, "malformed"),
        (rot, "is damaged"),
        (later, "later version"),
        (other, "not a store of sessions"),
        (lambda copy: copy.write_bytes(b""), "not a store of sessions"),
        (lambda copy: copy.write_text("no database " * 100), "not a database"),
        (folder, "there is no file"),
    ],
    ids=["cut", "rotten", "later", "other", "empty", "text", "folder"],
)
async def test_what_no_server_could_use_is_not_put_back(
    file: Path, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    """The store stays as it is, and nothing is left over."""
    store, copy = store_at(file), tmp_path / "copy.db"
    await add(store, 0, 5)
    back_up(file, copy)
    await store.database.aclose()
    spoil(copy)
    with pytest.raises(BackupError, match=said):
        restore(copy, file)
    assert [file.name] == [one.name for one in file.parent.iterdir()]
    assert 5 == await held(file)


def test_without_a_store_there_is_nothing_to_copy(tmp_path: Path) -> None:
    """The error says why there may be none."""
    with pytest.raises(BackupError, match="no session was ever used"):
        back_up(tmp_path / "sessions.db", tmp_path / "copy.db")
