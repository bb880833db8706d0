"""A restart: overrides that are kept, and those that are not valid any more.

Covers: config/revisions/layers.py, config/revisions/patch.py, config/revisions/revision.py
"""

from __future__ import annotations

import json
import logging
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.config import RESET, ConfigError, ConfigStore, OriginKind, RevisionFile, read

if TYPE_CHECKING:
    from pathlib import Path

IDLE, ATTEMPTS = "execution.idle_timeout_seconds", "retry.max_attempts"
DEADLINE, MOST = "execution.default_deadline_seconds", "execution.max_deadline_seconds"


def started(folder: Path, **values: object) -> ConfigStore:
    """Return a store as of a start with these variables."""
    environ = {f"GEMINI_BACKEND_{name}": str(value) for name, value in values.items()}
    return ConfigStore(read(None, environ), kept=RevisionFile(folder / "c" / "revisions.jsonl"))


def rewritten(folder: Path, change: Any) -> None:
    """Have `change` change the values of the last revision, as another version might have."""
    file = folder / "c" / "revisions.jsonl"
    *lines, last = file.read_bytes().splitlines()
    told = json.loads(last[9:])
    change(told["values"])
    text = json.dumps(told).encode()
    file.write_bytes(b"\n".join([*lines, b"%08x %b" % (zlib.crc32(text), text), b""]))


async def test_an_override_outranks_every_source_after_a_restart(tmp_path: Path) -> None:
    """It is applied again, over a changed environment as well, until it is reset."""
    store = started(tmp_path, RETRY__MAX_ATTEMPTS=2)
    await store.update({ATTEMPTS: 5})
    await store.aclose()
    again = started(tmp_path, RETRY__MAX_ATTEMPTS=3)
    assert (5, 2) == (again.current.retry.max_attempts, again.revision.number)
    assert OriginKind.UPDATE is again.revision.given[ATTEMPTS].origin.kind
    await again.update({ATTEMPTS: RESET})
    await again.aclose()
    assert 3 == started(tmp_path, RETRY__MAX_ATTEMPTS=3).current.retry.max_attempts


async def test_a_start_that_finds_other_values_is_a_revision(tmp_path: Path) -> None:
    """It says `start` and what has changed; the same start once more is none."""
    store = started(tmp_path)
    await store.update({IDLE: 5})
    await store.aclose()
    again = started(tmp_path, RETRY__MAX_ATTEMPTS=2, SERVER__MAX_MESSAGE_MB=8)
    made = again.revision
    assert (3, "start") == (made.number, made.change.author)
    assert (ATTEMPTS, "server.max_message_mb") == made.changed
    await again.aclose()
    assert made == started(tmp_path, RETRY__MAX_ATTEMPTS=2, SERVER__MAX_MESSAGE_MB=8).revision


async def test_a_rollback_reaches_behind_a_restart(tmp_path: Path) -> None:
    """A revision of an earlier start comes back; what only a start reads stays and is named."""
    store = started(tmp_path, SERVER__MAX_MESSAGE_MB=8)
    await store.update({IDLE: 5})
    await store.update({IDLE: 6, ATTEMPTS: 2})
    await store.aclose()
    again = started(tmp_path)
    revision, stay = await again.rollback(2)
    assert (5.0, 6) == (
        again.current.execution.idle_timeout_seconds,
        again.current.retry.max_attempts,
    )
    assert (("server.max_message_mb",), (IDLE, ATTEMPTS)) == (stay, revision.changed)
    await again.aclose()


@pytest.mark.parametrize(
    ("path", "told", "words"),
    [
        ("execution.gone", {"value": 1, "origin": "update"}, "not a setting of this version"),
        (IDLE, {"value": -1, "origin": "update"}, "idle_timeout_seconds is -1"),
        (IDLE, {"value": "long", "origin": "update"}, "must be a number"),
        ("server.max_message_mb", {"value": 8, "origin": "update"}, "only at the start"),
        (IDLE, {"value": 5, "origin": "moon"}, "unknown origin"),
    ],
)
async def test_an_override_that_is_not_valid_any_more_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, told: Any, words: str
) -> None:
    """The server starts without it; the log and the history say so; the others stay."""
    store = started(tmp_path)
    await store.update({ATTEMPTS: 5})
    await store.aclose()
    rewritten(tmp_path, lambda values: values.update({path: told}))
    with caplog.at_level(logging.WARNING):
        again = started(tmp_path)
    assert [("config_override_left_out", path)] == [
        (one.message, one.__dict__["setting"]) for one in caplog.records
    ]
    assert (5, "start") == (again.current.retry.max_attempts, again.revision.change.author)
    assert "left out: " in again.revision.change.comment
    assert words in again.revision.change.comment
    assert path in again.revision.changed
    await again.aclose()
    assert again.revision == started(tmp_path).revision


async def test_a_value_of_the_file_that_was_valid_once_is_not_missed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only overrides are left out: what a source said then is up to the source now."""
    store = started(tmp_path)
    await store.update({ATTEMPTS: 5})
    await store.aclose()
    of_file = {"value": -1, "origin": "file", "detail": "b.toml"}
    rewritten(tmp_path, lambda values: values.update({"execution.gone": of_file, IDLE: of_file}))
    again = started(tmp_path)
    assert ([], 2) == (caplog.records, again.revision.number)
    await again.update({ATTEMPTS: 4})
    with pytest.raises(ConfigError, match="idle_timeout_seconds is -1"):
        await again.rollback(2)
    await again.aclose()


async def test_overrides_at_odds_with_a_source_go_with_their_section(tmp_path: Path) -> None:
    """One may have been made for the other, so none of the section stays; other sections do."""
    store = started(tmp_path)
    await store.update({MOST: 700, IDLE: 5, ATTEMPTS: 5})
    await store.aclose()
    again = started(tmp_path, EXECUTION__DEFAULT_DEADLINE_SECONDS=800)
    execution = again.current.execution
    assert (800, 3600, 5) == (
        execution.default_deadline_seconds,
        execution.max_deadline_seconds,
        again.current.retry.max_attempts,
    )
    assert (DEADLINE, IDLE, MOST) == again.revision.changed
    await again.aclose()


async def test_a_revision_with_values_that_are_not_valid_is_refused_whole(tmp_path: Path) -> None:
    """A rollback to it changes nothing, and names the value."""
    store = started(tmp_path)
    await store.update({ATTEMPTS: 5, IDLE: 5})
    await store.aclose()
    rewritten(tmp_path, lambda values: values[IDLE].update(value=-1))
    again = started(tmp_path)
    with pytest.raises(ConfigError, match="idle_timeout_seconds is -1"):
        await again.rollback(2)
    assert 3 == again.revision.number
    await again.aclose()


async def test_a_start_that_cannot_be_kept_is_kept_with_the_next_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server starts, says so, and writes both revisions once it can."""
    store = started(tmp_path)
    await store.update({IDLE: 5})
    other = started(tmp_path, RETRY__MAX_ATTEMPTS=2)  # while the first one holds the file
    assert "config_start_not_kept" in [one.message for one in caplog.records]
    await store.aclose()
    await other.update({IDLE: 6})
    await other.aclose()
    assert [4, 3, 2, 1] == [
        one.number for one in started(tmp_path, RETRY__MAX_ATTEMPTS=2).revisions()
    ]
