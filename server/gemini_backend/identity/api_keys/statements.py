"""What `key_store` says to SQLite."""

from __future__ import annotations

from typing import Final

from gemini_backend.identity.api_keys.record import KeyRecord

# One part a version of the schema; a part that has been released never changes.
SCHEMA: Final = (
    """
    CREATE TABLE keys (
        key TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        principal TEXT NOT NULL,
        roles TEXT NOT NULL,
        models TEXT NOT NULL,
        requests_per_minute INTEGER,
        tokens_per_minute INTEGER,
        display_name TEXT NOT NULL,
        created REAL NOT NULL,
        expires REAL,
        used REAL,
        rotated REAL,
        revoked REAL,
        digest BLOB NOT NULL CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
        previous BLOB CHECK (previous IS NULL OR typeof(previous) = 'blob'),
        previous_expires REAL CHECK ((previous IS NULL) = (previous_expires IS NULL)),
        change INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX keys_by_principal ON keys (tenant, principal) WHERE revoked IS NULL;
    CREATE UNIQUE INDEX keys_by_change ON keys (change);
    CREATE INDEX keys_by_age ON keys (created DESC, key);
    CREATE INDEX keys_by_tenant ON keys (tenant, created DESC, key);
    CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL)
    """,
)
_COLUMNS = ", ".join(KeyRecord._fields)
# The number that a change gets.
_CHANGE = "(SELECT coalesce(max(change), 0) + 1 FROM keys)"
INSERT = (
    f"INSERT INTO keys ({_COLUMNS}, change) "
    f"VALUES ({', '.join('?' * len(KeyRecord._fields))}, {_CHANGE})"
)
GET = f"SELECT {_COLUMNS} FROM keys WHERE key = ?"
_LIVE = "revoked IS NULL AND (expires IS NULL OR expires > :now)"
_FURTHER = "(created < :created OR (created = :created AND key > :key))"
TWIN = "SELECT key FROM keys WHERE tenant = ? AND principal = ? AND revoked IS NULL"
COUNT = "SELECT count(*) FROM keys WHERE revoked IS NULL"
ROTATE = (
    "UPDATE keys SET digest = :digest, previous = :previous, previous_expires = :until, "
    f"rotated = :now, change = {_CHANGE} WHERE key = :key"
)
REVOKE = (
    "UPDATE keys SET revoked = :now, previous = NULL, previous_expires = NULL, "
    f"change = {_CHANGE} WHERE key = :key AND revoked IS NULL"
)
USED = "UPDATE keys SET used = max(coalesce(used, 0), ?) WHERE key = ?"
CHANGED = f"SELECT {_COLUMNS}, change FROM keys WHERE change > ? ORDER BY change LIMIT ?"


def page(*, tenant: bool, inactive: bool, further: bool) -> str:
    """Return the query of a page of keys, newest first.

    Args:
        tenant: Only those of `:tenant`.
        inactive: Those that are revoked, or expired at `:now`, as well.
        further: Only those after `:created` and `:key`.
    """
    conditions = ["tenant = :tenant"] * tenant + [_LIVE] * (not inactive) + [_FURTHER] * further
    return (
        f"SELECT {_COLUMNS} FROM keys WHERE {' AND '.join(conditions) or 'TRUE'} "
        "ORDER BY created DESC, key LIMIT :most"
    )
