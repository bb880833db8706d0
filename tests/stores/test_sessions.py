"""The store of sessions against a model of it, and against a hostile file system.

Covers: stores/one_thread.py, stores/sessions_sqlite.py, stores/sqlite.py
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gemini_backend.clock import SystemClock
from gemini_backend.errors import (
    AlreadyExists,
    Conflict,
    ServiceError,
    SessionFull,
    StoreUnavailable,
)
from gemini_backend.principal import Owner
from gemini_backend.stores.sessions import (
    Cursor,
    NewSession,
    NewTurn,
    Receipt,
    SessionKey,
    SessionRow,
)
from gemini_backend.stores.sessions_sqlite import SCHEMA, SqliteSessions
from gemini_backend.stores.sqlite import Database
from tests.support.layers.session_store import DictSessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

ANN = Owner("acme", "ann")
OWNERS = (ANN, Owner("acme", "bob"), Owner("other", "ann"))
MOST = 4


def store_at(file: Path | None, *, power: bool = False) -> SqliteSessions:
    """Return a store on a file, or in memory."""
    return SqliteSessions(Database(file, SCHEMA, clock=SystemClock(), power=power))


def new(name: str, uid: int, **more: Any) -> NewSession:
    """Return a session to be made."""
    turns = more.pop("turns", ())
    labels, request_id = more.pop("labels", {}), more.pop("request_id", "")
    digest = more.pop("digest", b"")
    size = sum(map(len, turns))
    values = {"version": 1, "head": b"", "created": 1.0, "used": 1.0, "expires": None} | more
    kept = SessionRow(name, uid, turns=len(turns), bytes=size, **values)
    return NewSession(kept, turns, labels, request_id, digest)


@pytest.fixture(params=["file", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqliteSessions]:
    """A store of each kind."""
    made = store_at(tmp_path / "state" / "sessions.db" if request.param == "file" else None)
    yield made
    await made.database.aclose()


class Agrees(RuleBasedStateMachine):
    """The real store and the model, given the same, say the same."""

    names = st.sampled_from(["a", "b", "c"])
    owners = st.sampled_from(OWNERS)
    labels = st.dictionaries(st.sampled_from(["k", "kk"]), st.sampled_from(["", "v", "vv"]))

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = self.make_folder()
        self.store = store_at(self.folder and self.folder / "sessions.db")
        self.model = DictSessions()
        self.now = 1000.0
        self.uid = 0

    def make_folder(self) -> Path | None:
        return Path(tempfile.mkdtemp())

    def teardown(self) -> None:
        self.runner.run(self.store.database.aclose())
        self.runner.close()
        if self.folder:
            shutil.rmtree(self.folder)

    def both(self, method: str, *arguments: Any) -> Any:
        """Ask both; return what they agree on."""

        async def ask(store: Any) -> Any:
            try:
                return await getattr(store, method)(*arguments)
            except (AlreadyExists, Conflict, SessionFull) as error:
                return type(error)

        expected = self.runner.run(ask(self.model))
        assert expected == self.runner.run(ask(self.store))
        return expected

    @rule(
        owner=owners,
        name=names,
        labels=labels,
        turns=st.lists(st.binary(max_size=20), max_size=3),
        ttl=st.sampled_from([None, 5.0]),
        request=st.sampled_from(["", "r"]),
        digest=st.sampled_from([b"1", b"2"]),
    )
    def create(self, **given: Any) -> None:
        """Make a session."""
        self.uid += 1
        ttl = given["ttl"]
        made = new(
            given["name"],
            self.uid,
            turns=tuple(given["turns"]),
            labels=given["labels"],
            request_id=given["request"],
            digest=given["digest"],
            created=self.now,
            used=self.now,
            expires=None if ttl is None else self.now + ttl,
        )
        self.both("create", given["owner"], made, MOST)

    @rule(
        owner=owners,
        name=names,
        data=st.binary(max_size=20),
        request=st.sampled_from(["", "r1", "r2"]),
        stale=st.booleans(),
    )
    def add_turn(self, owner: Owner, name: str, data: bytes, request: str, stale: bool) -> None:
        """Add a turn, by what stands or by an older state, unless its request has one."""
        loaded = self.both("load", SessionKey(owner, name), self.now, request)
        if loaded is None or loaded.answered:
            return
        kept = loaded.kept
        turn = NewTurn(data, Receipt(request, b"digest", b"answer") if request else None)
        after = replace(
            kept,
            version=kept.version + 1,
            head=data,
            used=self.now,
            turns=kept.turns + 1,
            bytes=kept.bytes + len(data),
            tokens=len(data),
            summarized=kept.turns // 2,
        )
        before = replace(kept, version=kept.version - 1) if stale else kept
        assert self.both("put", before, after, turn) is not stale

    @rule(owner=owners, name=names, how=st.sampled_from(["any", "right", "wrong"]))
    def delete(self, owner: Owner, name: str, how: str) -> None:
        """Delete by etag or without."""
        key = SessionKey(owner, name)
        kept = self.both("get", key, self.now)
        etag = "" if how == "any" else kept.etag if kept and how == "right" else "no"
        self.both("delete", key, etag, self.now)

    @rule(seconds=st.sampled_from([0.0, 1.0, 6.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @rule(most=st.integers(1, 3))
    def sweep(self, most: int) -> None:
        """Delete what has expired, bit by bit."""
        while self.both("sweep", self.now, most):
            pass

    @precondition(lambda self: self.folder)
    @rule()
    def restart(self) -> None:
        """Close the file and open it again."""
        self.runner.run(self.store.database.aclose())
        self.store = store_at(self.folder and self.folder / "sessions.db")

    @rule(owner=owners, labels=labels, size=st.integers(1, 3))
    def read(self, owner: Owner, labels: dict[str, str], size: int) -> None:
        """Read all pages, and each session with its turns."""
        after = None
        while page := self.both("page", owner, labels, after, size, self.now):
            after = Cursor(page[-1].used, page[-1].session)
            for kept in page:
                self.both("load", SessionKey(owner, kept.session), self.now)
                self.both("turns", kept, 1, size)

    @invariant()
    def same_number(self) -> None:
        """Both hold as many, expired ones that were not swept included."""
        assert self.runner.run(self.model.count()) == self.runner.run(self.store.count())


class AgreesInMemory(Agrees):
    """The same without a file."""

    def make_folder(self) -> Path | None:
        return None


_FEW = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestFile = Agrees.TestCase
TestFile.settings = _FEW
TestMemory = AgreesInMemory.TestCase
TestMemory.settings = _FEW


async def refusal(work: Coroutine[Any, Any, Any]) -> str:
    """Return the message of a store that cannot be used."""
    with pytest.raises(StoreUnavailable) as failed:
        await work
    return failed.value.message


def on_disk(folder: Path) -> bytes:
    """Return all that stands in the files of a folder."""
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_deleted_text_is_gone_from_the_disk(tmp_path: Path) -> None:
    """What is deleted can be found in no file of the database any more, while it is open."""
    store = store_at(tmp_path / "sessions.db")
    secret = b"the patient's name is Rosalind"
    made = await store.create(ANN, new("a", 1, turns=(secret * 400,), head=secret), 9)
    assert await store.put(
        made,
        replace(made, version=2, turns=2, head=b""),
        NewTurn(secret, Receipt(secret.decode(), secret, secret)),
    )
    assert secret in on_disk(tmp_path)
    await store.delete(SessionKey(ANN, "a"), "", 1.0)
    assert secret not in on_disk(tmp_path)
    await store.database.aclose()


async def test_an_expired_session_that_is_made_anew_is_gone_from_the_disk(tmp_path: Path) -> None:
    """Who takes the id of a session that has expired leaves nothing of that one behind."""
    store = store_at(tmp_path / "sessions.db")
    secret = b"the patient's name is Rosalind"
    await store.create(ANN, new("a", 1, turns=(secret * 400,), head=secret, expires=2.0), 9)
    await store.create(ANN, new("a", 2, created=3.0), 9)
    assert secret not in on_disk(tmp_path)
    await store.database.aclose()


async def test_files_are_for_this_user_only(tmp_path: Path) -> None:
    """Folder and files can be read by nobody else."""
    store = store_at(tmp_path / "state" / "sessions.db")
    await store.create(ANN, new("a", 1), 9)
    modes = {oct(path.stat().st_mode & 0o777) for path in (tmp_path / "state").iterdir()}
    assert ({"0o600"}, "0o700") == (modes, oct((tmp_path / "state").stat().st_mode & 0o777))
    await store.database.aclose()


async def test_a_locked_file_is_waited_for_then_named(tmp_path: Path) -> None:
    """A lock that lasts is named, with the fix; once it is gone the store goes on."""
    store = store_at(tmp_path / "sessions.db")
    await store.create(ANN, new("a", 1), 9)
    with sqlite3.connect(tmp_path / "sessions.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        message = await refusal(store.create(ANN, new("b", 2), 9))
        assert "sessions.db in state.dir is locked by another process" in message
        assert message == store.database.problem
        other.execute("COMMIT")
    other.close()
    await store.create(ANN, new("b", 2), 9)
    assert "" == store.database.problem
    await store.database.aclose()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_taken_away_is_missed(tmp_path: Path, replaced: bool) -> None:
    """Nothing is told as kept that nobody would find again; put back, the store goes on."""
    file, away = tmp_path / "sessions.db", tmp_path / "away.db"
    store = store_at(file)
    await store.create(ANN, new("a", 1), 9)
    file.rename(away)
    if replaced:
        file.write_bytes(b"another")
    message = await refusal(store.create(ANN, new("b", 2), 9))
    assert "was moved, deleted or replaced while the server ran: restore it, or restart" in message
    assert message == await refusal(store.load(SessionKey(ANN, "a"), 1.0))
    assert not replaced or file.read_bytes() == b"another"
    away.rename(file)
    await store.create(ANN, new("b", 2), 9)
    assert (2, "") == (await store.count(), store.database.problem)
    await store.database.aclose()


@pytest.mark.parametrize("damage", [b"this is no database, it is a letter" * 200, b"SQLite format"])
async def test_a_damaged_file_is_named_and_taken_up_once_mended(
    tmp_path: Path, damage: bytes
) -> None:
    """A file that is no database is left as it is; moved away, the next call begins anew."""
    file = tmp_path / "sessions.db"
    file.write_bytes(damage)
    store = store_at(file)
    message = await refusal(store.count())
    assert "is damaged, or not a database: restore a backup, or move the file away" in message
    assert damage == file.read_bytes()
    file.unlink()
    assert 0 == await store.count()
    await store.database.aclose()


async def test_pages_that_rot_are_named(tmp_path: Path) -> None:
    """Damage within the file shows when it is met, as what it is."""
    file = tmp_path / "sessions.db"
    store = store_at(file)
    for uid in range(1, 40):
        await store.create(ANN, new(f"s{uid}", uid, turns=(b"x" * 3000,)), 99)
    await store.database.aclose()
    data = bytearray(file.read_bytes())
    data[4096 : len(data)] = os.urandom(len(data) - 4096)
    file.write_bytes(data)
    store = store_at(file)
    assert "is damaged" in await refusal(store.load(SessionKey(ANN, "s1"), 1.0))
    await store.database.aclose()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """Where the state folder is a file, the message says what to set."""
    (tmp_path / "state").write_text("in the way")
    store = store_at(tmp_path / "state" / "sessions.db")
    assert "set state.dir" in await refusal(store.count())
    await store.database.aclose()


async def test_a_later_schema_is_left_alone(tmp_path: Path) -> None:
    """A file of a later version is neither read nor changed."""
    file = tmp_path / "sessions.db"
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA user_version = 99")
    other.close()
    store = store_at(file)
    message = await refusal(store.count())
    assert "later version of this server (schema 99, this one knows 3): run that" in message
    await store.database.aclose()


async def test_two_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    """Two that open a new file at the same moment both find one schema."""
    stores = [store_at(tmp_path / "sessions.db") for _ in range(8)]
    assert [0] * 8 == await asyncio.gather(*(store.count() for store in stores))
    await asyncio.gather(*(store.database.aclose() for store in stores))


async def test_versions_hold_between_processes(tmp_path: Path) -> None:
    """Of two that add a turn to the same state, one is told that it came too late."""
    first, second = store_at(tmp_path / "sessions.db"), store_at(tmp_path / "sessions.db")
    made = await first.create(ANN, new("a", 1), 9)
    after = replace(made, version=2, turns=1)
    done = await asyncio.gather(
        first.put(made, after, NewTurn(b"1")), second.put(made, after, NewTurn(b"2"))
    )
    assert [False, True] == sorted(done)
    loaded = await second.load(SessionKey(ANN, "a"), 1.0)
    assert loaded is not None
    assert 1 == len(loaded.turns)
    for store in (first, second):
        await store.database.aclose()


async def test_a_job_that_fails_changes_nothing(store: SqliteSessions) -> None:
    """What a job did before it raised is undone."""

    def job(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM sessions")
        raise ServiceError("no")

    await store.create(ANN, new("a", 1), 9)
    with pytest.raises(ServiceError):
        await store.database.run("test", job, writes=True)
    assert 1 == await store.count()


async def test_a_queue_that_is_full_refuses(store: SqliteSessions) -> None:
    """More jobs at once than the bound are refused, the others are done."""
    counts = await asyncio.gather(*(store.count() for _ in range(1100)), return_exceptions=True)
    refused = [one for one in counts if isinstance(one, StoreUnavailable)]
    assert (100, 1000) == (len(refused), counts.count(0))
