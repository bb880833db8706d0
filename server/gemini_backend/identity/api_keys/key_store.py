"""API keys in SQLite: a row per key; rows are never deleted, as a record of who had one.

Several processes may use the file: servers, and the command beside them. Each change of a key gets
the next number, by which the others find what has changed since they last looked.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gemini_backend.errors import AlreadyExists, Conflict, StoreUnavailable
from gemini_backend.identity.api_keys import statements
from gemini_backend.identity.api_keys.record import KeyRecord, models_text
from gemini_backend.identity.api_keys.secret import Hasher, new_id, new_secret
from gemini_backend.stores.sqlite import Database
from gemini_backend.telemetry.events import SILENT

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from gemini_backend.clock import Clock
    from gemini_backend.identity.api_keys.record import Cursor, NewKey
    from gemini_backend.keyring import DataKeys
    from gemini_backend.telemetry.events import Publisher

FILE: Final = "identity.sqlite3"
HASH_PURPOSE: Final = "api-keys"
"""What the keyring calls the key of the hashes."""

MOST_KEYS: Final = 200_000
"""Keys that are not revoked, all of which are held in memory (about 0.5 KiB each)."""

_CHECKED = b"the key by which secrets of API keys are hashed"


def open_keys(folder: str, keyring: DataKeys, *, clock: Clock, bus: Publisher = SILENT) -> KeyStore:
    """Return the store in the directory `state.dir`; nothing is opened before it is used."""
    file = Path(folder).expanduser() / FILE
    database = Database(file, statements.SCHEMA, clock=clock, power=True, bus=bus, store="identity")
    return KeyStore(database, lambda: keyring.key(HASH_PURPOSE))


class KeyStore:
    """Reads and changes keys.

    Every method raises `StoreUnavailable` where the database cannot be used; its message names
    what an operator is to mend.
    """

    def __init__(self, database: Database, hash_key: Callable[[], bytes]) -> None:
        """Keep keys in a database whose schema is `statements.SCHEMA`.

        Args:
            database: Where they are.
            hash_key: Gives the 32 bytes by which secrets are hashed; it is called once, in the
                database's thread, since it may read files.
        """
        self.database = database
        self._hash_key = hash_key
        self._hasher: Hasher | None = None

    async def hasher(self) -> Hasher:
        """Return what hashes secrets, once it is known to be what the stored hashes were made by.

        Raises:
            StoreUnavailable: they were made by another key.
        """
        if self._hasher is None:
            made = await self.database.run("open", self._agreed)
            if made is None:
                made = await self.database.run("open", self._agree, writes=True)
            self._hasher = made
        return self._hasher

    async def create(self, new: NewKey, now: float) -> tuple[KeyRecord, str]:
        """Make a key; return it, and its secret, which is kept nowhere.

        Raises:
            AlreadyExists: the tenant has a key of that principal that is not revoked.
            StoreUnavailable: there are as many keys as are held.
        """
        key, hasher = new_id(), await self.hasher()
        secret = new_secret(key)
        record = KeyRecord(
            key,
            new.tenant,
            new.principal or key,
            " ".join(role.value for role in new.roles),
            models_text(new.models),
            *(new.limits.requests_per_minute, new.limits.tokens_per_minute),
            new.display_name,
            now,
            new.expires,
            *(None, None, None),
            hasher.of(secret),
            *(None, None),
        )

        def job(db: sqlite3.Connection) -> None:
            _refuse_twin(db, record)
            if db.execute(statements.COUNT).fetchone()[0] >= MOST_KEYS:
                raise StoreUnavailable(
                    f"{FILE} holds {MOST_KEYS:,} keys, the most that it may hold; revoke keys that "
                    "have expired or are not used"
                )
            db.execute(statements.INSERT, record)

        await self.database.run("create", job, writes=True)
        return record, secret

    async def get(self, key: str) -> KeyRecord | None:
        """Return a key; None where there is none."""
        return await self.database.run("get", lambda db: _find(db, key))

    async def page(
        self, tenant: str, after: Cursor | None, most: int, *, now: float, inactive: bool
    ) -> list[KeyRecord]:
        """Return keys, newest first.

        Args:
            tenant: Only its keys; empty for those of all tenants.
            after: The last key of the page before; None for the first page.
            most: At most so many.
            now: The time of day.
            inactive: Whether keys that are revoked or expired are among them.
        """
        values: dict[str, object] = {"tenant": tenant, "now": now, "most": most}
        if after is not None:
            values |= after._asdict()
        query = statements.page(tenant=bool(tenant), inactive=inactive, further=after is not None)
        return await self.database.run(
            "page", lambda db: [KeyRecord(*row) for row in db.execute(query, values)]
        )

    async def rotate(self, key: str, now: float, overlap: float) -> tuple[KeyRecord, str] | None:
        """Give a key a new secret; the one before is accepted for `overlap` seconds more.

        Returns:
            The key and its secret; None where there is no such key.

        Raises:
            Conflict: it is revoked or has expired.
        """
        secret = new_secret(key)
        digest = (await self.hasher()).of(secret)

        def job(db: sqlite3.Connection) -> KeyRecord | None:
            found = _find(db, key)
            if found is None:
                return None
            if found.revoked is not None or found.expired(now):
                state = "is revoked" if found.revoked is not None else "has expired"
                raise Conflict(f"key keys/{key} {state} and cannot be rotated; create another key")
            kept = (found.digest, now + overlap) if overlap > 0 else (None, None)
            values = dict(zip(("previous", "until"), kept, strict=True))
            db.execute(statements.ROTATE, {**values, "digest": digest, "now": now, "key": key})
            return _find(db, key)

        record = await self.database.run("rotate", job, writes=True)
        return None if record is None else (record, secret)

    async def revoke(self, key: str, now: float) -> KeyRecord | None:
        """Revoke a key for good, unless it is already; return it, None where there is none."""

        def job(db: sqlite3.Connection) -> KeyRecord | None:
            db.execute(statements.REVOKE, {"key": key, "now": now})
            return _find(db, key)

        return await self.database.run("revoke", job, writes=True)

    async def changed(self, since: int, most: int) -> tuple[list[KeyRecord], int]:
        """Return keys that changed after change number `since`, in order, and the last number."""

        def job(db: sqlite3.Connection) -> tuple[list[KeyRecord], int]:
            rows = db.execute(statements.CHANGED, (since, most)).fetchall()
            return [KeyRecord(*row[:-1]) for row in rows], rows[-1][-1] if rows else since

        return await self.database.run("watch", job)

    async def touch(self, keys: Sequence[str], now: float) -> None:
        """Write that keys have been used until now; it is no change of them."""
        rows = [(now, key) for key in keys]
        await self.database.run(
            "touch", lambda db: db.executemany(statements.USED, rows), writes=True
        )

    async def aclose(self) -> None:
        """Close the database."""
        await self.database.aclose()

    def _agreed(self, db: sqlite3.Connection) -> Hasher | None:
        """Return the hasher; None for a store without any hash yet.

        Raises:
            StoreUnavailable: the hashes in it are those of another key.
        """
        found = db.execute("SELECT value FROM facts WHERE name = 'hash'").fetchone()
        if found is None:
            return None
        key = self._hash_key()
        if not hmac.compare_digest(_mark(key), bytes(found[0])):
            raise StoreUnavailable(
                f"{FILE} in state.dir belongs to another keyring; restore the keyring that it was "
                "used with, or move it away to start without API keys"
            )
        return Hasher(key)

    def _agree(self, db: sqlite3.Connection) -> Hasher:
        """Return the hasher; write down by which key it hashes, unless somebody just has."""
        made = self._agreed(db)
        if made is not None:
            return made
        key = self._hash_key()
        db.execute("INSERT INTO facts VALUES ('hash', ?)", (_mark(key),))
        return Hasher(key)


def _mark(key: bytes) -> bytes:
    """Return what tells one key of hashes from another, and nothing else of it."""
    return hmac.digest(key, _CHECKED, "sha256")


def _find(db: sqlite3.Connection, key: str) -> KeyRecord | None:
    row = db.execute(statements.GET, (key,)).fetchone()
    return None if row is None else KeyRecord(*row)


def _refuse_twin(db: sqlite3.Connection, record: KeyRecord) -> None:
    """Refuse a second key of one principal.

    Raises:
        AlreadyExists: there is one that is not revoked.
    """
    twin = db.execute(statements.TWIN, (record.tenant, record.principal)).fetchone()
    if twin is not None:
        raise AlreadyExists(
            f"tenant {record.tenant!r} has a key of principal {record.principal!r} already, "
            f"keys/{twin[0]}; rotate that one, revoke it first, or use another principal"
        )
