"""API keys in SQLite.

Covers: identity/api_keys/statements.py
"""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import AlreadyExists, Conflict, StoreUnavailable
from gemini_backend.identity.api_keys import Cursor, key_store
from gemini_backend.identity.api_keys.key_store import FILE
from gemini_backend.principal import Limits, Role
from tests.support.identity.key_desk import KeyDesk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[KeyDesk]:
    """Keys on an empty store."""
    made = KeyDesk(tmp_path)
    yield made
    await made.aclose()


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder."""
    return sorted(folder.iterdir())


async def test_a_key_is_kept_as_it_was_asked_for(desk: KeyDesk) -> None:
    """All that was asked for is read back; what was not said has its default."""
    made, _ = await desk.create(
        "ann",
        roles=(Role.VIEWER, Role.CALLER),
        models=("models/gemini-*",),
        limits=Limits(10, 0),
        display_name="Ann's ✓",
        expires=desk.wall() + 60,
    )
    kept = await desk.keys.store.get(made.key)
    assert kept == made
    assert kept is not None
    assert ((Role.VIEWER, Role.CALLER), ("models/gemini-*",), Limits(10, 0)) == (
        kept.role_list,
        kept.model_list,
        kept.limits,
    )
    plain, _ = await desk.create()
    assert (plain.key, (Role.CALLER,), (), Limits(), None, None) == (
        plain.principal,
        plain.role_list,
        plain.model_list,
        plain.limits,
        plain.expires,
        plain.used,
    )
    assert None is await desk.keys.store.get("unknown")


async def test_the_file_is_its_user_s_only_and_has_no_secret(desk: KeyDesk, tmp_path: Path) -> None:
    """Nobody else may read the file, and no part of a secret but its id is in it."""
    made, secret = await desk.create()
    files = files_in(tmp_path)
    assert FILE in {file.name for file in files}
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in files}
    written = b"".join(file.read_bytes() for file in files)
    assert (True, False) == (made.key.encode() in written, secret[17:40].encode() in written)


async def test_a_principal_has_one_key(desk: KeyDesk) -> None:
    """A second one is refused until the first is revoked; another tenant's is another principal."""
    first, _ = await desk.create("ann")
    with pytest.raises(AlreadyExists, match=f"keys/{first.key}; rotate"):
        await desk.create("ann")
    await desk.create("ann", tenant="other")
    await desk.keys.revoke(first.key)
    second, _ = await desk.create("ann")
    assert first.key != second.key


async def test_of_two_at_once_one_is_made(tmp_path: Path) -> None:
    """Two processes that make a key of one principal make one."""
    desks = [KeyDesk(tmp_path) for _ in range(2)]
    made = await asyncio.gather(*(one.create("ann") for one in desks), return_exceptions=True)
    assert [AlreadyExists] == [type(one) for one in made if isinstance(one, Exception)]
    for one in desks:
        await one.aclose()


async def test_pages_are_newest_first(desk: KeyDesk) -> None:
    """A page goes on where the one before ended, also among keys of one moment."""
    names = []
    for number in range(6):
        names.append((await desk.create(f"p{number}"))[0].principal)
        if number % 2:
            await desk.clock.advance(1)
    found, after = [], None
    while True:
        page = await desk.keys.store.page("acme", after, 2, now=desk.wall(), inactive=False)
        if not page:
            break
        found += [one.principal for one in page]
        after = Cursor(page[-1].created, page[-1].key)
    assert sorted(names) == sorted(found)
    assert [["p4", "p5"], ["p2", "p3"], ["p0", "p1"]] == [
        sorted(found[at : at + 2]) for at in (0, 2, 4)
    ]


async def test_pages_leave_out_what_is_not_asked_for(desk: KeyDesk) -> None:
    """Other tenants, and keys that are revoked or expired, are listed only when asked for."""
    await desk.create("alive")
    await desk.create("short", expires=desk.wall() + 10)
    gone, _ = await desk.create("gone")
    await desk.create("theirs", tenant="other")
    await desk.keys.revoke(gone.key)
    await desk.clock.advance(10)

    async def names(tenant: str, *, inactive: bool) -> list[str]:
        page = await desk.keys.store.page(tenant, None, 9, now=desk.wall(), inactive=inactive)
        return sorted(one.principal for one in page)

    assert ["alive"] == await names("acme", inactive=False)
    assert ["alive", "gone", "short"] == await names("acme", inactive=True)
    assert ["alive", "theirs"] == await names("", inactive=False)


async def test_what_has_ended_is_not_rotated(desk: KeyDesk) -> None:
    """A revoked key stays revoked, an expired one expired; an unknown one is told."""
    revoked, _ = await desk.create()
    expired, _ = await desk.create(expires=desk.wall() + 1)
    await desk.keys.revoke(revoked.key)
    await desk.clock.advance(1)
    for key, state in ((revoked.key, "is revoked"), (expired.key, "has expired")):
        with pytest.raises(Conflict, match=f"{state}.*create another key"):
            await desk.keys.rotate(key, 0)
    assert None is await desk.keys.rotate("unknown", 0)
    assert None is await desk.keys.revoke("unknown")


async def test_a_second_revocation_changes_nothing(desk: KeyDesk) -> None:
    """The time of the first one stays."""
    made, _ = await desk.create()
    first = await desk.keys.revoke(made.key)
    await desk.clock.advance(60)
    assert first == await desk.keys.revoke(made.key)


async def test_another_keyring_is_refused(desk: KeyDesk, tmp_path: Path) -> None:
    """Hashes by another key would refuse every secret; the failure says so and names the fix."""
    await desk.create()
    other = KeyDesk(tmp_path, key=bytes(32))
    with pytest.raises(StoreUnavailable, match="another keyring; restore the keyring"):
        await other.create("bob")
    assert 1 == len(await other.keys.store.page("", None, 9, now=0, inactive=True))
    await other.aclose()


async def test_a_full_store_refuses(desk: KeyDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many keys as are held in memory are the most; a revoked one makes room."""
    monkeypatch.setattr(key_store, "MOST_KEYS", 2)
    first, _ = await desk.create()
    await desk.create()
    with pytest.raises(StoreUnavailable, match=r"holds 2 keys, the most.*revoke"):
        await desk.create()
    await desk.keys.revoke(first.key)
    await desk.create()


async def test_a_later_version_is_refused(tmp_path: Path) -> None:
    """A file of a later version is left alone, and the fix is named."""
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    desk = KeyDesk(tmp_path)
    with pytest.raises(StoreUnavailable, match=r"schema 99.*run that version"):
        await desk.create()
    await desk.aclose()


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """What is no database is left alone, and the fix is named."""
    (tmp_path / FILE).write_bytes(b"no database " * 500)
    desk = KeyDesk(tmp_path)
    with pytest.raises(StoreUnavailable, match=f"{FILE} in state.dir is damaged.*restore a backup"):
        await desk.create()
    assert desk.keys.store.database.problem
    await desk.aclose()


async def test_a_full_disk_is_told(desk: KeyDesk) -> None:
    """What cannot be written is refused with the fix, and the keys before stay readable."""
    made, _ = await desk.create()

    def full(db: sqlite3.Connection) -> None:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")

    await desk.keys.store.database.run("fill", full)
    with pytest.raises(StoreUnavailable, match="disk is full: free some space"):
        await desk.create(display_name="x" * 100_000)
    assert made == await desk.keys.store.get(made.key)


async def test_a_hash_that_is_none_cannot_be_stored(desk: KeyDesk) -> None:
    """Whoever edits the store cannot put a text, or a shorter hash, in the place of one."""
    made, _ = await desk.create()
    for value in ("a" * 32, b"short", None):
        with pytest.raises(StoreUnavailable):
            await desk.keys.store.database.run(
                "edit",
                lambda db, value=value: db.execute(  # type: ignore[misc] # bound at once
                    "UPDATE keys SET digest = ? WHERE key = ?", (value, made.key)
                ),
                writes=True,
            )
