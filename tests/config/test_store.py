"""Live updates, revisions, reloads, watching."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from itertools import count
from typing import TYPE_CHECKING

import pytest

from gemini_backend.config import (
    MASK,
    RESET,
    Change,
    ConfigError,
    ConfigStore,
    NotKept,
    OriginKind,
    RestartNeeded,
    RevisionFile,
    Settings,
    StaleEtag,
    UnknownRevision,
    read,
)
from gemini_backend.config.revisions import MAX_REVISIONS, Revision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IDLE, ATTEMPTS = "execution.idle_timeout_seconds", "retry.max_attempts"
ENVIRON = {"GEMINI_API_KEY": "k", "GEMINI_BACKEND_EXECUTION__IDLE_TIMEOUT_SECONDS": "7"}


def _store() -> ConfigStore:
    ticks = count(100)
    return ConfigStore(read(None, ENVIRON), now=lambda: float(next(ticks)), nonce="n")


async def test_live_settings_change_at_once() -> None:
    """An update is in force when it returns, as a new revision with a new etag."""
    store = _store()
    revision = await store.update({IDLE: 5}, change=Change("acme/alice", "why"))
    assert store.current.execution.idle_timeout_seconds == 5.0
    assert revision is store.revision
    assert (2, "n-2", (IDLE,)) == (revision.number, revision.etag, revision.changed)
    assert ("acme/alice", "why") == (revision.change.author, revision.change.comment)
    assert revision.given[IDLE].origin.kind is OriginKind.UPDATE
    assert revision.given[IDLE].origin.detail == "revision 2"


async def test_other_settings_need_a_restart() -> None:
    """A setting that is not live is refused, and nothing of the patch is done."""
    store = _store()
    with pytest.raises(RestartNeeded, match=r"server\.listen is read only at the start"):
        await store.update({"server.listen": "127.0.0.1:1", IDLE: 5})
    assert store.revision.number == 1
    assert store.current.execution.idle_timeout_seconds == 7.0


async def test_unchanged_values_make_no_revision() -> None:
    """A patch that says what is so already changes nothing, live or not."""
    store = _store()
    revision = await store.update({"server.listen": "127.0.0.1:50051", IDLE: 7.0})
    assert revision.number == 1
    assert revision.given[IDLE].origin.kind is OriginKind.ENVIRONMENT


async def test_stale_etag_is_refused() -> None:
    """A change that was meant for another revision is refused."""
    store = _store()
    etag = store.revision.etag
    await store.update({IDLE: 5}, etag=etag)
    with pytest.raises(StaleEtag, match="GetConfig"):
        await store.update({IDLE: 6}, etag=etag)


async def test_a_repeated_change_is_made_once() -> None:
    """The same change, or rollback, again with its etag returns the revision that it made."""
    store = _store()
    first = store.revision.etag
    made = await store.update({IDLE: 5}, etag=first)
    assert made is await store.update({IDLE: 5}, etag=first)
    back, _ = await store.rollback(1, etag=made.etag)
    assert back is (await store.rollback(1, etag=made.etag))[0]
    with pytest.raises(StaleEtag):
        await store.update({IDLE: 7}, etag=first)  # two revisions ago
    with pytest.raises(StaleEtag):
        await store.rollback(2, etag=made.etag)
    assert 3 == store.revision.number


def test_a_check_changes_nothing() -> None:
    """A check says what would be, under the number and etag in force."""
    store = _store()
    would_be = store.checked({IDLE: 5})
    assert 5.0 == would_be.value(IDLE)
    assert (would_be.number, would_be.etag, would_be.changed) == (1, "n-1", (IDLE,))
    assert store.current.execution.idle_timeout_seconds == 7.0
    assert len(store.revisions()) == 1


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({IDLE: "x"}, "a number from 0"),
        ({IDLE: -1}, "is -1"),
        ({"execution.idle": 1}, "is not a setting"),
        ({"execution.default_deadline_seconds": 4000}, "must lie between"),
    ],
)
async def test_wrong_values_are_refused(patch: dict[str, object], words: str) -> None:
    """A patch is held to the same rules as a file, whole, by a check as well."""
    store = _store()
    with pytest.raises(ConfigError, match=words):
        await store.update({ATTEMPTS: 5, **patch})
    with pytest.raises(ConfigError, match=words):
        store.checked(patch)
    assert (1, 6) == (store.revision.number, store.current.retry.max_attempts)


async def test_a_reset_ends_an_override() -> None:
    """A reset gives what file, environment and defaults said, also if that is the same value."""
    store = _store()
    await store.update({IDLE: 5})
    revision = await store.update({IDLE: RESET})
    assert 7.0 == store.current.execution.idle_timeout_seconds == revision.value(IDLE)
    assert revision.given[IDLE].origin.kind is OriginKind.ENVIRONMENT
    await store.update({IDLE: 5})
    await store.update({IDLE: 7})
    revision = await store.update({IDLE: RESET})
    assert ((IDLE,), OriginKind.ENVIRONMENT) == (
        revision.changed,
        revision.given[IDLE].origin.kind,
    )


async def test_masked_secrets_stand_for_themselves() -> None:
    """Who sends a configuration back as it was shown does not overwrite its keys."""
    store = _store()
    await store.update({"upstream.gemini.api_keys": [MASK], IDLE: 5})
    assert [key.reveal() for key in store.current.upstream.gemini.api_keys] == ["k"]


async def test_rollback_makes_a_new_revision() -> None:
    """A former revision comes back as a new one, which says so."""
    store = _store()
    await store.update({IDLE: 5})
    revision, stay = await store.rollback(1, change=Change("acme/alice"))
    assert (7.0, ()) == (store.current.execution.idle_timeout_seconds, stay)
    assert (revision.number, revision.rollback_of, revision.changed) == (3, 1, (IDLE,))


async def test_rollback_to_the_unknown_is_refused() -> None:
    """A revision that is not in the history cannot come back."""
    with pytest.raises(UnknownRevision, match="there is no revision 9"):
        await _store().rollback(9)


async def test_history_is_bounded() -> None:
    """The oldest revisions go, the latest come first."""
    store = _store()
    for seconds in range(10, 10 + MAX_REVISIONS + 5):
        await store.update({IDLE: seconds})
    numbers = [revision.number for revision in store.revisions()]
    assert list(range(MAX_REVISIONS + 6, 6, -1)) == numbers


async def test_watching_gives_the_latest() -> None:
    """A watcher gets the revision in force, then the latest one, not each one in between."""
    store = _store()
    async with aclosing(store.subscribe()) as revisions:
        assert (await anext(revisions)).number == 1
        await store.update({IDLE: 5})
        await store.update({IDLE: 6})
        assert (await anext(revisions)).number == 3
        waiting = asyncio.ensure_future(anext(revisions))
        await asyncio.sleep(0)
        assert not waiting.done()
        await store.update({IDLE: 8})
        assert (await waiting).number == 4


def _given(**values: object) -> Settings:
    environ = {f"GEMINI_BACKEND_{name}": str(value) for name, value in values.items()}
    return read(None, {"GEMINI_API_KEY": "k", **environ})


def _file(folder: Path, text: str, **values: object) -> Settings:
    file = folder / "backend.toml"
    file.write_text(text)
    environ = {f"GEMINI_BACKEND_{name}": str(value) for name, value in values.items()}
    return read(file, environ)


async def test_a_reload_takes_what_its_source_has_changed() -> None:
    """Changed live settings are one revision; those of a start are named and stay as they were."""
    store = ConfigStore(_given(RETRY__MAX_ATTEMPTS=2))
    done = await store.reload(
        _given(RETRY__MAX_ATTEMPTS=3, LOGGING__LEVEL="error", SERVER__LISTEN="127.0.0.1:1"),
        Change("reload", "why"),
    )
    assert (2, "why") == (done.revision.number, done.revision.change.comment)
    assert ("logging.level", ATTEMPTS) == done.taken == done.revision.changed
    assert (("server.listen",), {}) == (done.waiting, done.hidden)
    now = store.current
    assert (3, "error") == (now.retry.max_attempts, now.logging.level)
    assert "127.0.0.1:50051" == now.server.listen


async def test_a_reload_never_ends_an_override(tmp_path: Path) -> None:
    """An override outranks a changed file, and is named; a reset leads to what that says now."""
    store = ConfigStore(_file(tmp_path, "[retry]\nmax_attempts = 2"))
    await store.update({IDLE: 5, ATTEMPTS: 4})
    done = await store.reload(_file(tmp_path, "[retry]\nmax_attempts = 3"))
    assert ((), {ATTEMPTS: "the override of revision 2"}) == (done.taken, done.hidden)
    assert (2, 4) == (done.revision.number, store.current.retry.max_attempts)
    await store.update({ATTEMPTS: RESET})
    assert (5.0, 3) == (
        store.current.execution.idle_timeout_seconds,
        store.current.retry.max_attempts,
    )


async def test_what_the_environment_hides_is_named(tmp_path: Path) -> None:
    """A change in the file has no effect where the environment says something else; once."""
    over = {"RETRY__MAX_ATTEMPTS": 5}
    store = ConfigStore(_file(tmp_path, "", **over))
    changed = "[retry]\nmax_attempts = 3"
    done = await store.reload(_file(tmp_path, changed, **over))
    variable = "the environment variable GEMINI_BACKEND_RETRY__MAX_ATTEMPTS"
    assert ({ATTEMPTS: variable}, 1) == (dict(done.hidden), done.revision.number)
    assert {} == (await store.reload(_file(tmp_path, changed, **over))).hidden


async def test_what_needs_a_restart_is_named_at_each_reload() -> None:
    """A setting of a start is named until the server has started with it."""
    store = ConfigStore(_given())
    changed = _given(SERVER__LISTEN="127.0.0.1:1")
    assert [("server.listen",)] * 2 == [(await store.reload(changed)).waiting for _ in range(2)]
    assert (1, ()) == (store.revision.number, (await store.reload(_given())).waiting)


async def test_a_reload_that_changes_an_origin_only(tmp_path: Path) -> None:
    """Where the file says what was the default, nothing changes but the origin that is shown."""
    store = ConfigStore(_file(tmp_path, ""))
    done = await store.reload(_file(tmp_path, "[retry]\nmax_attempts = 6"))
    assert ((), 1) == (done.taken, done.revision.number)
    assert OriginKind.FILE is store.revision.given[ATTEMPTS].origin.kind


async def test_a_reload_at_odds_with_what_is_in_force_changes_nothing() -> None:
    """What was read is right by itself, and not with an update: it is refused as a whole."""
    store = ConfigStore(_given())
    await store.update({"execution.max_deadline_seconds": 700})
    with pytest.raises(ConfigError, match="must lie between"):
        await store.reload(_given(EXECUTION__DEFAULT_DEADLINE_SECONDS=800, LOGGING__LEVEL="error"))
    assert (2, "info") == (store.revision.number, store.current.logging.level)


async def test_a_rollback_over_a_reload_makes_an_override(tmp_path: Path) -> None:
    """What the file said then is in force again, whatever it says now, until it is reset."""
    store = ConfigStore(_file(tmp_path, "[retry]\nmax_attempts = 2"))
    await store.reload(_file(tmp_path, "[retry]\nmax_attempts = 3"))
    revision, _ = await store.rollback(1)
    assert 2 == store.current.retry.max_attempts
    assert "revision 3" == revision.given[ATTEMPTS].origin.detail
    await store.reload(_file(tmp_path, "[retry]\nmax_attempts = 4"))
    assert 2 == store.current.retry.max_attempts
    await store.update({ATTEMPTS: RESET})
    assert 4 == store.current.retry.max_attempts


async def test_a_rollback_ends_later_overrides() -> None:
    """A value that its source still has comes from there again."""
    store = _store()
    await store.update({ATTEMPTS: 5})
    await store.update({IDLE: 5})
    revision, _ = await store.rollback(2)
    assert (OriginKind.ENVIRONMENT, "revision 2") == (
        revision.given[IDLE].origin.kind,
        revision.given[ATTEMPTS].origin.detail,
    )


async def test_a_configuration_is_no_larger_than_a_file_may_be() -> None:
    """Values of more than 1 MiB are refused by the setting that has most of them."""
    store = _store()
    models = [f"gemini-{number:0100}" for number in range(11_000)]
    with pytest.raises(ConfigError, match=r"more than 1 MiB, most of it for fallback\.models"):
        await store.update({"fallback.models": models})
    with pytest.raises(ConfigError, match="more than 1 MiB"):
        store.checked({"fallback.models": models})
    assert 1 == store.revision.number


class SlowFile(RevisionFile):
    """Writes when it is allowed to; or fails."""

    def __init__(self, file: Path) -> None:
        """Allow nothing yet."""
        super().__init__(file)
        self.begun, self.allowed = threading.Event(), threading.Event()
        self.full = False

    def append(self, revisions: Sequence[Revision]) -> None:
        """Wait to be allowed."""
        self.begun.set()
        self.allowed.wait(10)
        if self.full:
            raise NotKept.at("no space left", "revisions.store")
        super().append(revisions)


async def test_a_revision_is_in_force_once_it_is_kept(tmp_path: Path) -> None:
    """While it is written, the one before is in force, and nobody waits but who changes."""
    kept = SlowFile(tmp_path / "config" / "revisions.jsonl")
    store = ConfigStore(read(None, ENVIRON), kept=kept)
    making = asyncio.create_task(store.update({IDLE: 5}))
    await asyncio.to_thread(kept.begun.wait, 10)
    assert (1, 7.0) == (store.revision.number, store.current.execution.idle_timeout_seconds)
    kept.allowed.set()
    assert (await making) is store.revision
    assert 5.0 == store.current.execution.idle_timeout_seconds
    await store.aclose()


async def test_a_change_whose_caller_leaves_is_made(tmp_path: Path) -> None:
    """What may be on the disk comes into force, and the next change is made after it."""
    kept = SlowFile(tmp_path / "config" / "revisions.jsonl")
    store = ConfigStore(read(None, ENVIRON), kept=kept)
    leaving = asyncio.create_task(store.update({IDLE: 5}))
    await asyncio.to_thread(kept.begun.wait, 10)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    after = asyncio.create_task(store.update({ATTEMPTS: 5}))
    kept.allowed.set()
    assert 3 == (await after).number
    assert (5.0, 5) == (
        store.current.execution.idle_timeout_seconds,
        store.current.retry.max_attempts,
    )
    await store.aclose()


async def test_changes_at_once_are_made_one_after_another(tmp_path: Path) -> None:
    """Each makes a revision of its own; with one etag only the first is made."""
    store = ConfigStore(read(None, ENVIRON), kept=RevisionFile(tmp_path / "c" / "r.jsonl"))
    made = await asyncio.gather(*(store.update({IDLE: 10 + n}) for n in range(5)))
    assert [2, 3, 4, 5, 6] == [one.number for one in made]
    etag = store.revision.etag
    tried = await asyncio.gather(
        *(store.update({IDLE: 20 + n}, etag=etag) for n in range(3)), return_exceptions=True
    )
    assert [Revision, StaleEtag, StaleEtag] == [type(one) for one in tried]
    await store.aclose()


async def test_a_revision_that_cannot_be_kept_is_not_made(tmp_path: Path) -> None:
    """An update, a rollback and a reload fail as they were, and work again once they can."""
    kept = SlowFile(tmp_path / "config" / "revisions.jsonl")
    kept.allowed.set()
    store = ConfigStore(_given(), kept=kept)
    await store.update({IDLE: 5})
    kept.full = True
    for attempt in (
        store.update({IDLE: 6}),
        store.rollback(1),
        store.reload(_given(RETRY__MAX_ATTEMPTS=5)),
    ):
        with pytest.raises(NotKept):
            await attempt
    assert (2, 5.0, 6) == (
        store.revision.number,
        store.current.execution.idle_timeout_seconds,
        store.current.retry.max_attempts,
    )
    kept.full = False
    assert (ATTEMPTS,) == (await store.reload(_given(RETRY__MAX_ATTEMPTS=5))).taken
    await store.aclose()
