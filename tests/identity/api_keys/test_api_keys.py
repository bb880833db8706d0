"""API keys while the server runs, beside a command that changes them."""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from gemini_backend.errors import StoreUnavailable, Unauthenticated
from gemini_backend.identity.api_keys.api_keys import LOOK_SECONDS, TOUCH_SECONDS, WATCH_SECONDS
from gemini_backend.identity.api_keys.key_store import FILE
from gemini_backend.identity.api_keys.secret import Hasher, new_id, new_secret
from gemini_backend.telemetry.health.health_rules import HealthState
from tests.support.clock import settle
from tests.support.identity.key_desk import HASH_KEY, KeyDesk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[KeyDesk]:
    """The keys of a running server, which has read its store."""
    made = KeyDesk(tmp_path)
    await made.keys.refresh()
    yield made
    await made.aclose()


@pytest.fixture
async def command(tmp_path: Path) -> AsyncIterator[KeyDesk]:
    """Another process on the same store."""
    made = KeyDesk(tmp_path)
    yield made
    await made.aclose()


async def soon(server: KeyDesk, work: asyncio.Task[object] | asyncio.Future[object]) -> None:
    """Let the store's thread do its part of some work, while time goes by."""
    for _ in range(200):
        if work.done():
            return
        await asyncio.sleep(0.005)
        await server.clock.advance(LOOK_SECONDS / 10)
    pytest.fail("it was not done")


def file_in(folder: Path) -> bool:
    """Return whether there is a store."""
    return (folder / FILE).exists()


async def test_a_key_made_here_is_known_at_once(server: KeyDesk) -> None:
    """Its principal is found without a wait, the same by both ways."""
    made, secret = await server.create("ann")
    found = server.keys.known(secret)
    assert found is not None
    assert ("ann", made.key) == (found.name, found.api_key)
    assert found is await server.keys.verify(secret)


async def test_a_key_of_the_command_is_found_when_it_is_used(
    server: KeyDesk, command: KeyDesk
) -> None:
    """It is not known, and verified by a look at the store; then it is known."""
    _, secret = await command.create()
    assert None is server.keys.known(secret)
    found = await server.keys.verify(secret)
    assert found is server.keys.known(secret)


async def test_a_rotation_by_the_command_is_found_when_it_is_used(
    server: KeyDesk, command: KeyDesk
) -> None:
    """The new secret is accepted at once, the old one as long as was said."""
    made, first = await command.create()
    found = await server.keys.verify(first)
    rotated = await command.keys.rotate(made.key, 60)
    assert rotated is not None
    look = asyncio.ensure_future(server.keys.verify(rotated[1]))
    await soon(server, look)
    assert found is await look
    assert found is server.keys.known(first)
    await server.clock.advance(60)
    assert (None, found) == (server.keys.known(first), server.keys.known(rotated[1]))


async def test_a_rotation_without_overlap_ends_the_secret(server: KeyDesk) -> None:
    """The one before is refused from the same moment on; a second rotation ends the first one."""
    made, first = await server.create()
    second = await server.keys.rotate(made.key, 0)
    assert second is not None
    assert (None, True) == (server.keys.known(first), bool(server.keys.known(second[1])))
    third = await server.keys.rotate(made.key, 60)
    fourth = await server.keys.rotate(made.key, 60)
    assert third is not None
    assert fourth is not None
    known = [bool(server.keys.known(one)) for one in (second[1], third[1], fourth[1])]
    assert [False, True, True] == known
    assert [] == server.ended


async def test_a_revocation_by_the_command_is_seen_by_the_watch(
    server: KeyDesk, command: KeyDesk
) -> None:
    """Within about a second the key is refused, and its end is published, once."""
    made, secret = await command.create()
    await server.keys.verify(secret)
    watch = asyncio.create_task(server.keys.run())
    await command.keys.revoke(made.key)
    for _ in range(200):
        if server.ended:
            break
        await asyncio.sleep(0.005)
        await server.clock.advance(WATCH_SECONDS / 10)
    await server.clock.advance(3 * WATCH_SECONDS)
    watch.cancel()
    assert ([made.key], None) == (server.ended, server.keys.known(secret))


async def test_a_revocation_here_is_published_at_once(server: KeyDesk) -> None:
    """And a second one is not."""
    made, secret = await server.create()
    await server.keys.revoke(made.key)
    await server.keys.revoke(made.key)
    assert ([made.key], None) == (server.ended, server.keys.known(secret))


async def test_every_refusal_is_the_same(server: KeyDesk) -> None:
    """Malformed, unknown, wrong, expired, revoked: one message, which says how to go on."""
    expired, gone = [await server.create(expires=at and server.wall() + at) for at in (1, None)]
    right, _ = await server.create()
    await server.keys.revoke(gone[0].key)
    await server.clock.advance(1)
    said = set()
    for secret in (
        "",
        "Bearer",
        "a" * 100_000,
        new_secret(new_id()),
        new_secret(right.key),
        expired[1],
        gone[1],
    ):
        look = asyncio.ensure_future(server.keys.verify(secret))
        await soon(server, look)
        error = look.exception()
        assert isinstance(error, Unauthenticated)
        said.add(str(error))
    (message,) = said
    assert "gemini-backend keys create" in message


async def test_garbage_shares_the_looks_at_the_store(server: KeyDesk) -> None:
    """However many secrets somebody invents, the store is looked at once in a while."""
    looks = []
    changed = server.keys.store.changed

    async def counted(since: int, most: int) -> object:
        looks.append(server.clock.now())
        return await changed(since, most)

    server.keys.store.changed = counted  # type: ignore[assignment,method-assign] # to count
    waiting = []
    for _ in range(10):
        waiting += [
            asyncio.ensure_future(server.keys.verify(new_secret(new_id()))) for _ in range(50)
        ]
        await settle()
    await soon(server, asyncio.gather(*waiting, return_exceptions=True))
    assert {Unauthenticated} == {type(one.exception()) for one in waiting}
    assert len(looks) <= 3
    assert all(later - one >= LOOK_SECONDS for one, later in pairwise(looks))
    looks.clear()
    with pytest.raises(Unauthenticated):
        await server.keys.verify("gbk_malformed")
    assert [] == looks


async def test_a_caller_who_leaves_takes_nothing_along(server: KeyDesk, command: KeyDesk) -> None:
    """A shared look goes on for the others when one of those who wait is cancelled."""
    _, secret = await command.create()
    one, other = (asyncio.ensure_future(server.keys.verify(secret)) for _ in range(2))
    await asyncio.sleep(0)
    one.cancel()
    await soon(server, other)
    assert other.result() is server.keys.known(secret)


async def test_uses_are_written_down_in_batches(server: KeyDesk, command: KeyDesk) -> None:
    """Not by each call; about once a minute, and when the server stops."""
    (first, secret), (second, other) = await server.create(), await server.create()
    watch = asyncio.create_task(server.keys.run())
    server.keys.known(secret)
    await asyncio.sleep(0.05)
    read = command.keys.store.get
    assert None is getattr(await read(first.key), "used", 0)
    for _ in range(200):
        await asyncio.sleep(0.005)
        await server.clock.advance(WATCH_SECONDS)
        if (kept := await read(first.key)) and kept.used is not None:
            break
    assert server.wall() - TOUCH_SECONDS <= getattr(await read(first.key), "used", 0)
    watch.cancel()
    server.keys.known(other)
    await server.keys.flush()
    assert server.wall() == getattr(await read(second.key), "used", None)


async def test_a_use_is_no_change(server: KeyDesk, command: KeyDesk) -> None:
    """Nobody reads a key again because it was used."""
    _, secret = await server.create()
    server.keys.known(secret)
    _, last = await command.keys.store.changed(0, 10)
    await server.keys.flush()
    assert ([], last) == await command.keys.store.changed(last, 10)


async def test_known_keys_outlive_the_store(server: KeyDesk, tmp_path: Path) -> None:
    """Who is known is let in; of others it is said that they cannot be verified, not why."""
    _, secret = await server.create()
    lock = sqlite3.connect(tmp_path / FILE)
    (tmp_path / FILE).rename(tmp_path / "aside")
    assert server.keys.known(secret)
    with pytest.raises(StoreUnavailable) as failed:
        await server.keys.verify(new_secret(new_id()))
    assert "API keys cannot currently be verified; retry" == failed.value.message
    assert HealthState.DEGRADED is server.keys.component().state
    (tmp_path / "aside").rename(tmp_path / FILE)
    await server.keys.refresh()
    assert HealthState.HEALTHY is server.keys.component().state
    lock.close()


async def test_uses_that_cannot_be_written_are_kept(server: KeyDesk, tmp_path: Path) -> None:
    """They are written with the next batch."""
    made, secret = await server.create()
    server.keys.known(secret)
    (tmp_path / FILE).rename(tmp_path / "aside")
    with pytest.raises(StoreUnavailable):
        await server.keys.flush()
    (tmp_path / "aside").rename(tmp_path / FILE)
    await server.keys.flush()
    assert None is not getattr(await server.keys.store.get(made.key), "used", None)


async def test_a_defect_does_not_end_the_watch(
    server: KeyDesk, command: KeyDesk, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, health says so, and later revocations are seen all the same."""
    made, secret = await server.create()
    changed = server.keys.store.changed

    async def broken(_since: int, _most: int) -> object:
        raise RuntimeError

    server.keys.store.changed = broken  # type: ignore[assignment,method-assign] # a defect
    watch = asyncio.create_task(server.keys.run())
    await server.clock.advance(5 * WATCH_SECONDS)
    assert ["identity"] == [line.message for line in caplog.records]
    assert HealthState.DEGRADED is server.keys.component().state
    server.keys.store.changed = changed  # type: ignore[method-assign] # mended
    await command.keys.revoke(made.key)
    for _ in range(200):
        if server.ended:
            break
        await asyncio.sleep(0.005)
        await server.clock.advance(WATCH_SECONDS / 10)
    watch.cancel()
    assert ([made.key], None) == (server.ended, server.keys.known(secret))
    assert HealthState.HEALTHY is server.keys.component().state


async def test_a_store_of_another_keyring_is_told_by_health(tmp_path: Path) -> None:
    """Nobody is let in, and health says what an operator is to do."""
    first = KeyDesk(tmp_path)
    _, secret = await first.create()
    other = KeyDesk(tmp_path, key=bytes(32))
    with pytest.raises(StoreUnavailable, match="cannot currently be verified"):
        await other.keys.verify(secret)
    assert "belongs to another keyring" in other.keys.component().message
    for one in (first, other):
        await one.aclose()


async def test_without_any_use_nothing_is_opened(tmp_path: Path) -> None:
    """A server that asks for no key makes no file."""
    desk = KeyDesk(tmp_path)
    assert (None, HealthState.UNKNOWN) == (desk.keys.known("x"), desk.keys.component().state)
    with pytest.raises(Unauthenticated):
        await desk.keys.verify("x")
    await desk.aclose()
    assert not desk.keys.store.database.used
    assert not file_in(tmp_path)


async def test_a_hundred_thousand_keys(tmp_path: Path) -> None:
    """All of them are held, and found."""
    desk, hasher, count = KeyDesk(tmp_path), Hasher(HASH_KEY), 100_000
    made, _ = await desk.create()
    secrets = {}

    def fill(db: sqlite3.Connection) -> None:
        rows = []
        for number in range(count):
            key = f"{number:012}"
            secrets[number] = secret = f"gbk_{key}_{number:043}"
            record = made._replace(key=key, principal=key, digest=hasher.of(secret))
            rows.append((*record, number + 2))
        marks = ", ".join("?" * (len(made) + 1))
        db.executemany(f"INSERT INTO keys VALUES ({marks})", rows)

    await desk.keys.store.database.run("fill", fill, writes=True)
    found = await desk.keys.verify(secrets[count - 1])
    assert f"{count - 1:012}" == found.name
    assert all(desk.keys.known(secrets[number]) for number in range(0, count, 100))
    await desk.aclose()
