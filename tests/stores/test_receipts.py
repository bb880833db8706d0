"""Requests that a stored turn is known by, in a store of before and in one of today."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

from gemini_backend.clock import SystemClock
from gemini_backend.principal import Owner
from gemini_backend.stores.sessions import (
    NewSession,
    NewTurn,
    Receipt,
    SessionKey,
    SessionRow,
)
from gemini_backend.stores.sessions_sqlite import SCHEMA, SqliteSessions
from gemini_backend.stores.sqlite import Database

if TYPE_CHECKING:
    from pathlib import Path

ANN = Owner("acme", "ann")


def store_at(file: Path) -> SqliteSessions:
    """Return the store of today on a file."""
    return SqliteSessions(Database(file, SCHEMA, clock=SystemClock(), power=False))


async def test_a_store_of_the_schema_before_takes_receipts(tmp_path: Path) -> None:
    """Sessions and turns stay as they are; from then on turns are known by their requests."""
    file, key = tmp_path / "sessions.db", SessionKey(ANN, "a")
    with sqlite3.connect(file) as db:
        (first, *_) = SCHEMA
        assert isinstance(first, str)
        db.executescript(first)
        db.execute(
            "INSERT INTO sessions VALUES "
            "(1, 'acme', 'ann', 'a', 3, X'01', '', 'made', 1, 1, NULL, 1, 3, 5, 0)"
        )
        db.execute("INSERT INTO turns VALUES (NULL, 1, 1, X'616263')")
        db.execute("PRAGMA user_version = 2")
    db.close()
    store = store_at(file)
    loaded = await store.load(key, 1.0, "r")
    assert loaded is not None
    assert (3, [b"abc"], None) == (loaded.kept.version, loaded.turns, loaded.answered)
    other = NewSession(SessionRow("b", 2, 1, b"", 1.0, 1.0, None), (), {}, "made", b"any")
    assert loaded.kept == await store.create(ANN, other, 9)
    turn = NewTurn(b"def", Receipt("r", b"digest", b"answer"))
    assert await store.put(loaded.kept, replace(loaded.kept, version=4, turns=2), turn)
    await store.database.aclose()
    store = store_at(file)
    again = await store.load(key, 1.0, "r")
    assert again is not None
    assert (turn, ()) == (again.answered, again.turns)
    await store.database.aclose()
