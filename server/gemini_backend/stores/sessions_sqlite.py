"""Sessions in SQLite: a row a session, a row a turn."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import TYPE_CHECKING

from gemini_backend.errors import AlreadyExists, Conflict, SessionFull
from gemini_backend.stores.session_rewrite import rewrite_sessions
from gemini_backend.stores.sessions import (
    REQUEST_ID_SECONDS,
    Loaded,
    NewTurn,
    Receipt,
    SessionRow,
    marks,
    page_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from gemini_backend.principal import Owner
    from gemini_backend.stores.sessions import Cursor, NewSession, SessionKey
    from gemini_backend.stores.sqlite import Database

# One part a version of the schema; a part that has been released never changes.
SCHEMA = (
    """
    CREATE TABLE sessions (
        uid INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        principal TEXT NOT NULL,
        session TEXT NOT NULL,
        version INTEGER NOT NULL,
        head BLOB NOT NULL,
        labels TEXT NOT NULL,
        request TEXT,
        created REAL NOT NULL,
        used REAL NOT NULL,
        expires REAL,
        turns INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        tokens INTEGER NOT NULL,
        summarized INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX sessions_by_name ON sessions (tenant, principal, session);
    CREATE INDEX sessions_by_use ON sessions (tenant, principal, used DESC, session);
    CREATE INDEX sessions_by_expiry ON sessions (expires) WHERE expires IS NOT NULL;
    CREATE INDEX sessions_by_request ON sessions (tenant, principal, request)
        WHERE request IS NOT NULL;
    CREATE TABLE turns (
        place INTEGER PRIMARY KEY,
        uid INTEGER NOT NULL,
        number INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (uid, number)
    )
    """,
    rewrite_sessions,
    """
    CREATE TABLE receipts (
        uid INTEGER NOT NULL,
        request TEXT NOT NULL,
        number INTEGER NOT NULL,
        digest BLOB NOT NULL,
        answer BLOB NOT NULL,
        PRIMARY KEY (uid, request)
    ) WITHOUT ROWID;
    ALTER TABLE sessions ADD COLUMN digest BLOB
    """,
)
_COLUMNS = [field.name for field in fields(SessionRow)]
_KEPT = ", ".join(_COLUMNS)
_LIVE = "(expires IS NULL OR expires > :now)"
_OWN = "tenant = :tenant AND principal = :principal"
_INSERT = (
    f"INSERT INTO sessions (tenant, principal, labels, request, digest, {_KEPT}) "
    f"VALUES (?, ?, ?, ?, ?, {', '.join('?' * len(_COLUMNS))})"
)
# what a change may change
_CHANGED = [name for name in _COLUMNS if name not in {"session", "uid", "created"}]
_UPDATE = (
    f"UPDATE sessions SET {', '.join(f'{name} = :{name}' for name in _CHANGED)} "
    "WHERE uid = :uid AND version = :before"
)
_FIND = f"SELECT {_KEPT} FROM sessions WHERE {_OWN} AND session = :session AND {_LIVE}"
_PAGE = (
    f"SELECT {_KEPT} FROM sessions WHERE {_OWN} AND {_LIVE} %s "
    "ORDER BY used DESC, session LIMIT :most"
)
_AFTER = "AND (used < :used OR (used = :used AND session > :last))"
_TURNS = "SELECT data FROM turns WHERE uid = ? AND number > ? ORDER BY number"
_ADD_TURN = "INSERT INTO turns (uid, number, data) VALUES (?, ?, ?)"
_ADD_RECEIPT = "INSERT INTO receipts (uid, request, number, digest, answer) VALUES (?, ?, ?, ?, ?)"
_ANSWERED = (
    "SELECT data, request, digest, answer FROM receipts JOIN turns USING (uid, number) "
    "WHERE uid = ? AND request = ?"
)


class SqliteSessions:
    """A `SessionStore` on one database."""

    def __init__(self, database: Database) -> None:
        """Keep sessions in a database whose schema is `SCHEMA`."""
        self.database = database

    async def create(self, owner: Owner, new: NewSession, most: int) -> SessionRow:
        """Make a session, or return the one that the same request made before.

        Raises:
            AlreadyExists: the owner has one of that id.
            Conflict: another request with the same `request_id` made one before.
            SessionFull: the owner's tenant has `most` sessions.
            StoreUnavailable: the store cannot be used.
        """

        def job(db: sqlite3.Connection) -> tuple[SessionRow, bool]:
            before = _before(db, owner, new)
            return (before, False) if before else _insert(db, owner, new, most)

        kept, replaced = await self.database.run("create", job, writes=True)
        if replaced:
            await self.database.wipe()
        return kept

    async def get(self, key: SessionKey, now: float) -> SessionRow | None:
        """Return a session without its turns; None where there is none."""
        return await self.database.run("get", lambda db: _find(db, key, now))

    async def load(
        self, key: SessionKey, now: float, request_id: str = "", *, to_write: bool = False
    ) -> Loaded | None:
        """Return a session with its turns, or with the one that a request made before."""

        def job(db: sqlite3.Connection) -> Loaded | None:
            kept = _find(db, key, now)
            if kept is None:
                return None
            if request_id:
                found = db.execute(_ANSWERED, (kept.uid, request_id)).fetchone()
                if found is not None:
                    return Loaded(kept, (), NewTurn(found[0], Receipt(*found[1:])))
            given = db.execute(_TURNS, (kept.uid, kept.summarized))
            return Loaded(kept, [data for (data,) in given])

        return await self.database.run("load", job, tries=to_write)

    async def turns(self, kept: SessionRow, after: int, most: int) -> list[bytes]:
        """Return the turns after number `after`, in order; see the protocol for how many."""

        def job(db: sqlite3.Connection) -> list[bytes]:
            given = db.execute(_TURNS + " LIMIT ?", (kept.uid, after, most))
            return page_of((data for (data,) in given), len)

        return await self.database.run("turns", job)

    async def put(self, before: SessionRow, after: SessionRow, turn: NewTurn | None) -> bool:
        """Put `after` in place of `before`, and add a turn; tell whether it was still there."""
        values = {name: getattr(after, name) for name in _COLUMNS}
        values["before"] = before.version

        def job(db: sqlite3.Connection) -> bool:
            if not db.execute(_UPDATE, values).rowcount:
                return False
            if turn is not None:
                db.execute(_ADD_TURN, (after.uid, after.turns, turn.data))
                if turn.receipt is not None:
                    request, digest, answer = turn.receipt
                    db.execute(_ADD_RECEIPT, (after.uid, request, after.turns, digest, answer))
            return True

        return await self.database.run("put", job, writes=True)

    async def page(
        self, owner: Owner, labels: Mapping[str, str], after: Cursor | None, most: int, now: float
    ) -> list[SessionRow]:
        """Return sessions that have all of these labels, latest used first."""
        values = {**owner._asdict(), "now": now, "most": most}
        conditions = ""
        for number, mark in enumerate(marks(labels)):
            conditions += f" AND instr(labels, :mark{number})"
            values[f"mark{number}"] = mark
        if after is not None:
            conditions += f" {_AFTER}"
            values |= {"used": after.used, "last": after.session}

        def job(db: sqlite3.Connection) -> list[SessionRow]:
            given = (SessionRow(*row) for row in db.execute(_PAGE % conditions, values))
            return page_of(given, lambda kept: len(kept.head))

        return await self.database.run("page", job)

    async def delete(self, key: SessionKey, etag: str, now: float) -> str:
        """Delete a session with its turns for good; return its etag before, empty for none."""

        def job(db: sqlite3.Connection) -> str:
            kept = _find(db, key, now)
            if kept is None:
                return ""
            if etag in {"", kept.etag}:
                _drop(db, [kept.uid])
            return kept.etag

        found = await self.database.run("delete", job, writes=True)
        if found and etag in {"", found}:
            await self.database.wipe()
        return found

    async def sweep(self, now: float, most: int) -> int:
        """Delete sessions that have expired, at most so many; return how many there were."""

        def look(db: sqlite3.Connection) -> list[int]:
            given = db.execute("SELECT uid FROM sessions WHERE expires <= ? LIMIT ?", (now, most))
            return [uid for (uid,) in given]

        def job(db: sqlite3.Connection) -> int:
            expired = look(db)
            _drop(db, expired)
            return len(expired)

        # a store that could not be written is tried, so that health knows when it can be
        if not (await self.database.run("sweep", look) or self.database.problem):
            return 0
        gone = await self.database.run("sweep", job, writes=True)
        if gone:
            await self.database.wipe()
        return gone

    async def latest(self) -> float | None:
        """Return when a session was last used, of all owners; None where there is none."""

        def job(db: sqlite3.Connection) -> float | None:
            found: float | None = db.execute("SELECT max(used) FROM sessions").fetchone()[0]
            return found

        return await self.database.run("latest", job)

    async def count(self) -> int:
        """Return how many sessions there are, of all owners."""

        def job(db: sqlite3.Connection) -> int:
            return int(db.execute("SELECT count(*) FROM sessions").fetchone()[0])

        return await self.database.run("count", job)


def _find(db: sqlite3.Connection, key: SessionKey, now: float) -> SessionRow | None:
    values = {**key.owner._asdict(), "session": key.session, "now": now}
    row = db.execute(_FIND, values).fetchone()
    return None if row is None else SessionRow(*row)


def _before(db: sqlite3.Connection, owner: Owner, new: NewSession) -> SessionRow | None:
    """Return the session that the same request has made already.

    Raises:
        Conflict: another request with the same id made it.
    """
    if not new.request_id:
        return None
    now = new.kept.created
    row = db.execute(
        f"SELECT digest, {_KEPT} FROM sessions WHERE {_OWN} AND request = :request AND {_LIVE} "
        "AND created > :since ORDER BY created DESC LIMIT 1",
        {
            **owner._asdict(),
            "request": new.request_id,
            "now": now,
            "since": now - REQUEST_ID_SECONDS,
        },
    ).fetchone()
    if row is None:
        return None
    digest, *values = row
    if digest not in {None, new.digest}:  # a session that an earlier version made has none
        raise Conflict(
            f"another request with request_id {new.request_id!r} has created a session; use a new "
            "request_id for each session"
        )
    return SessionRow(*values)


def _insert(
    db: sqlite3.Connection, owner: Owner, new: NewSession, most: int
) -> tuple[SessionRow, bool]:
    """Make a session; say whether an expired one of its id was deleted for it.

    Raises:
        AlreadyExists: the owner has one of that id.
        SessionFull: the owner's tenant has `most` sessions.
    """
    kept = new.kept
    now = kept.created
    values = {**owner._asdict(), "session": kept.session, "now": now}
    expired = db.execute(
        f"SELECT uid FROM sessions WHERE {_OWN} AND session = :session AND NOT {_LIVE}",
        values,
    )
    replaced = [uid for (uid,) in expired]
    if replaced and not new.may_replace:
        msg = (
            f"session {kept.session!r} has expired by a clock that is not certain yet, so it is "
            "kept; choose another session_id, or retry in some minutes"
        )
        raise AlreadyExists(msg)
    _drop(db, replaced)
    if db.execute(_FIND, values).fetchone():
        msg = (
            f"session {kept.session!r} already exists; choose another session_id, or use the "
            "existing session"
        )
        raise AlreadyExists(msg)
    if _held(db, owner.tenant) >= most and (held := _held(db, owner.tenant, now)) >= most:
        raise SessionFull(
            f"the tenant has {held} sessions and may have at most {most} (sessions.max_sessions); "
            "delete some of them, or set a shorter ttl"
        )
    labels = "".join(marks(new.labels))
    request = (new.request_id, new.digest) if new.request_id else (None, None)
    db.execute(_INSERT, (*owner, labels, *request, *astuple(kept)))
    db.executemany(
        _ADD_TURN, ((kept.uid, number, data) for number, data in enumerate(new.turns, 1))
    )
    return kept, bool(replaced)


def _held(db: sqlite3.Connection, tenant: str, now: float | None = None) -> int:
    """Return how many sessions a tenant has; without `now` quickly, expired ones included."""
    count = "SELECT count(*) FROM sessions WHERE tenant = :tenant"
    if now is not None:
        count += f" AND {_LIVE}"
    return int(db.execute(count, {"tenant": tenant, "now": now}).fetchone()[0])


def _drop(db: sqlite3.Connection, uids: list[int]) -> None:
    rows = [(uid,) for uid in uids]
    db.executemany("DELETE FROM receipts WHERE uid = ?", rows)
    db.executemany("DELETE FROM turns WHERE uid = ?", rows)
    db.executemany("DELETE FROM sessions WHERE uid = ?", rows)
