"""Live updates, revisions, watching."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from itertools import count

import pytest

from gemini_backend.config import (
    MASK,
    RESET,
    ConfigError,
    ConfigStore,
    OriginKind,
    RestartNeeded,
    Settings,
    StaleEtag,
    UnknownRevision,
    read,
)
from gemini_backend.config.store import MAX_REVISIONS

IDLE = "execution.idle_timeout_seconds"
ENVIRON = {"GEMINI_API_KEY": "k", "GEMINI_BACKEND_EXECUTION__IDLE_TIMEOUT_SECONDS": "7"}


def _store() -> ConfigStore:
    ticks = count(100)
    return ConfigStore(read(None, ENVIRON), now=lambda: float(next(ticks)), nonce="n")


def test_live_settings_change_at_once() -> None:
    """An update is in force when it returns, as a new revision with a new etag."""
    store = _store()
    revision = store.update({IDLE: 5}, comment="why")
    assert store.current.execution.idle_timeout_seconds == 5.0
    assert revision is store.revision
    assert (
        revision.number,
        revision.etag,
        revision.changed,
        revision.comment,
    ) == (2, "n-2", (IDLE,), "why")
    assert revision.given[IDLE].origin.kind is OriginKind.UPDATE
    assert revision.given[IDLE].origin.detail == "revision 2"


def test_other_settings_need_a_restart() -> None:
    """A setting that is not live is refused, and nothing of the patch is done."""
    store = _store()
    with pytest.raises(RestartNeeded, match=r"server\.listen is read only at the start"):
        store.update({"server.listen": "127.0.0.1:1", IDLE: 5})
    assert store.revision.number == 1
    assert store.current.execution.idle_timeout_seconds == 7.0


def test_unchanged_values_make_no_revision() -> None:
    """A patch that says what is so already changes nothing, live or not."""
    store = _store()
    revision = store.update({"server.listen": "127.0.0.1:50051", IDLE: 7.0})
    assert revision.number == 1
    assert revision.given[IDLE].origin.kind is OriginKind.ENVIRONMENT


def test_stale_etag_is_refused() -> None:
    """A change that was meant for another revision is refused."""
    store = _store()
    etag = store.revision.etag
    store.update({IDLE: 5}, etag=etag)
    with pytest.raises(StaleEtag, match="GetConfig"):
        store.update({IDLE: 6}, etag=etag)


def test_a_repeated_change_is_made_once() -> None:
    """The same change, or rollback, again with its etag returns the revision that it made."""
    store = _store()
    first = store.revision.etag
    made = store.update({IDLE: 5}, etag=first)
    assert made is store.update({IDLE: 5}, etag=first)
    back = store.rollback(1, etag=made.etag)
    assert back is store.rollback(1, etag=made.etag)
    with pytest.raises(StaleEtag):
        store.update({IDLE: 7}, etag=first)  # two revisions ago
    with pytest.raises(StaleEtag):
        store.rollback(2, etag=made.etag)
    assert 3 == store.revision.number


def test_validate_only_changes_nothing() -> None:
    """A check says what would be, under the number and etag in force."""
    store = _store()
    would_be = store.update({IDLE: 5}, validate_only=True)
    assert would_be.config.execution.idle_timeout_seconds == 5.0
    assert (would_be.number, would_be.etag) == (1, "n-1")
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
def test_wrong_values_are_refused(patch: dict[str, object], words: str) -> None:
    """A patch is held to the same rules as a file."""
    store = _store()
    with pytest.raises(ConfigError, match=words):
        store.update(patch)
    assert store.revision.number == 1


def test_reset_goes_back_to_the_start() -> None:
    """A reset gives what file, environment and defaults said."""
    store = _store()
    store.update({IDLE: 5})
    revision = store.update({IDLE: RESET})
    assert revision.config.execution.idle_timeout_seconds == 7.0
    assert revision.given[IDLE].origin.kind is OriginKind.ENVIRONMENT


def test_masked_secrets_stand_for_themselves() -> None:
    """Who sends a configuration back as it was shown does not overwrite its keys."""
    store = _store()
    store.update({"upstream.gemini.api_keys": [MASK], IDLE: 5})
    assert [key.reveal() for key in store.current.upstream.gemini.api_keys] == ["k"]


def test_rollback_makes_a_new_revision() -> None:
    """A former revision comes back as a new one, which says so."""
    store = _store()
    store.update({IDLE: 5})
    revision = store.rollback(1)
    assert revision.config.execution.idle_timeout_seconds == 7.0
    assert (revision.number, revision.rollback_of, revision.changed) == (3, 1, (IDLE,))


def test_rollback_to_the_unknown_is_refused() -> None:
    """A revision that is not in the history cannot come back."""
    with pytest.raises(UnknownRevision, match="there is no revision 9"):
        _store().rollback(9)


def test_history_is_bounded() -> None:
    """The oldest revisions go, the latest come first."""
    store = _store()
    for seconds in range(10, 10 + MAX_REVISIONS + 5):
        store.update({IDLE: seconds})
    numbers = [revision.number for revision in store.revisions()]
    assert list(range(MAX_REVISIONS + 6, 6, -1)) == numbers


async def test_watching_gives_the_latest() -> None:
    """A watcher gets the revision in force, then the latest one, not each one in between."""
    store = _store()
    async with aclosing(store.subscribe()) as revisions:
        assert (await anext(revisions)).number == 1
        store.update({IDLE: 5})
        store.update({IDLE: 6})
        assert (await anext(revisions)).number == 3
        waiting = asyncio.ensure_future(anext(revisions))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.update({IDLE: 8})
        assert (await waiting).number == 4


def _given(**values: object) -> Settings:
    environ = {f"GEMINI_BACKEND_{name}": str(value) for name, value in values.items()}
    return read(None, {"GEMINI_API_KEY": "k", **environ})


def test_a_reload_takes_what_its_source_has_changed() -> None:
    """Changed live settings are one revision; those of a start are named and stay as they were."""
    store = ConfigStore(_given(RETRY__MAX_ATTEMPTS=2))
    done = store.reload(
        _given(RETRY__MAX_ATTEMPTS=3, LOGGING__LEVEL="error", SERVER__LISTEN="127.0.0.1:1"),
        comment="why",
    )
    assert (2, "why") == (done.revision.number, done.revision.comment)
    assert ("logging.level", "retry.max_attempts") == done.taken == done.revision.changed
    assert ("server.listen",) == done.kept
    now = store.current
    assert (3, "error") == (now.retry.max_attempts, now.logging.level)
    assert "127.0.0.1:50051" == now.server.listen


def test_a_reload_leaves_an_update_where_its_source_has_not_changed() -> None:
    """An update stays in force, and a reset leads to what the sources say now."""
    store = ConfigStore(_given(RETRY__MAX_ATTEMPTS=2))
    store.update({IDLE: 5, "retry.max_attempts": 4})
    store.reload(_given(RETRY__MAX_ATTEMPTS=3))
    assert (5.0, 3) == (
        store.current.execution.idle_timeout_seconds,
        store.current.retry.max_attempts,
    )
    store.update({"retry.max_attempts": 1})
    store.update({"retry.max_attempts": RESET})
    assert 3 == store.current.retry.max_attempts


def test_what_needs_a_restart_is_named_at_each_reload() -> None:
    """A setting of a start is named until the server has started with it."""
    store = ConfigStore(_given())
    changed = _given(SERVER__LISTEN="127.0.0.1:1")
    assert [("server.listen",)] * 2 == [store.reload(changed).kept for _ in range(2)]
    assert (1, ()) == (store.revision.number, store.reload(_given()).kept)


def test_a_reload_at_odds_with_what_is_in_force_changes_nothing() -> None:
    """What was read is right by itself, and not with an update: it is refused as a whole."""
    store = ConfigStore(_given())
    store.update({"execution.max_deadline_seconds": 700})
    with pytest.raises(ConfigError, match="must lie between"):
        store.reload(_given(EXECUTION__DEFAULT_DEADLINE_SECONDS=800, LOGGING__LEVEL="error"))
    assert (2, "info") == (store.revision.number, store.current.logging.level)
