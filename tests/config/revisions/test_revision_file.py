# ruff: noqa: ASYNC240 - the tests look at the file themselves, and nothing else is on their loop
"""Revisions on disk: what is kept, what was interrupted, what is damaged.

Covers: config/revisions/lines.py, config/revisions/unkept.py
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.config import ConfigStore, DamagedHistory, NotKept, RevisionFile, read
from gemini_backend.config.revisions import MAX_REVISIONS, Change, Revision, revision_file
from gemini_backend.config.revisions.lines import DamagedLineError, line_of, revision_of

if TYPE_CHECKING:
    from pathlib import Path

IDLE = "execution.idle_timeout_seconds"
ENVIRON = {"GEMINI_API_KEY": "AIza-not-a-real-key", "GEMINI_BACKEND_RETRY__MAX_ATTEMPTS": "4"}
SOURCES = read(None, ENVIRON)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the revisions are."""
    return tmp_path / "config" / "revisions.jsonl"


def opened(file: Path) -> ConfigStore:
    """Return a store that keeps its revisions there, as of a start."""
    return ConfigStore(SOURCES, kept=RevisionFile(file))


async def changed(file: Path, *seconds: float) -> None:
    """Have a start that makes some revisions."""
    store = opened(file)
    for one in seconds:
        await store.update({IDLE: one}, change=Change("acme/alice", "why"))
    await store.aclose()


async def test_nothing_is_written_before_the_first_change(file: Path) -> None:
    """A server whose configuration nobody changes writes nothing."""
    await changed(file)
    assert not file.parent.exists()


async def test_revisions_outlast_a_start(file: Path) -> None:
    """Numbers, etags, authors and values are as they were; nothing changed makes no revision."""
    store = opened(file)
    before = await store.update({IDLE: 5}, change=Change("acme/alice", "why"))
    await store.aclose()
    again = opened(file)
    assert before == again.revision
    assert 5.0 == again.current.execution.idle_timeout_seconds
    assert [2, 1] == [one.number for one in again.revisions()]
    assert 3 == (await again.update({IDLE: 6}, etag=before.etag)).number
    await again.aclose()


async def test_only_this_user_can_read_it(file: Path) -> None:
    """The file and its folder are closed to others."""
    await changed(file, 5)
    assert (0o600, 0o700) == (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777)


async def test_no_secret_is_written(file: Path) -> None:
    """Neither the keys, nor a value or a comment that holds one."""
    key, held = ENVIRON["GEMINI_API_KEY"], "secret-in-options"
    layers = f'[{{"name": "x", "after": "cache", "options": {{"token": "{key}"}}}}]'
    keys = {"GEMINI_API_KEY": f"{key},{held}", "GEMINI_BACKEND_INTERCEPTORS": layers}
    store = ConfigStore(read(None, {**ENVIRON, **keys}), kept=RevisionFile(file))
    await store.update({IDLE: 5}, change=Change("a/b", f"because of {key}"))
    with pytest.raises(ValueError, match="contains a secret"):
        await store.update({"execution.default_model": held})
    await store.aclose()
    text = file.read_text()
    assert not [secret for secret in (key, held) if secret in text]
    assert "because of [key]" in text
    assert "interceptors" in text


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
async def test_a_torn_last_line_is_dropped(
    file: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A line whose writer was interrupted was answered to nobody; the log says so."""
    await changed(file, 5, 6)
    os.truncate(file, file.stat().st_size - cut)
    with caplog.at_level(logging.WARNING):
        store = opened(file)
    assert ["config_revision_torn"] == [one.message for one in caplog.records]
    assert (2, 5.0) == (store.revision.number, store.current.execution.idle_timeout_seconds)
    await store.update({IDLE: 7})
    await store.aclose()
    assert [3, 2, 1] == [one.number for one in opened(file).revisions()]


async def test_zeros_in_place_of_the_last_line_are_dropped(file: Path) -> None:
    """A file that became longer, and whose data never arrived, is torn as well."""
    await changed(file, 5)
    with file.open("ab") as at_end:
        at_end.write(b"\0" * 300 + b"\n")
    store = opened(file)
    assert 2 == store.revision.number
    await store.update({IDLE: 7})
    await store.aclose()
    assert b"\0" not in file.read_bytes()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"alice", b"mal__"), lines[2]], "line 2"),
        (lambda lines: [lines[0], lines[2]], "revision 2 is missing"),
        (lambda lines: [lines[0], lines[2], lines[1]], "revision 2 is missing"),
        (lambda lines: [*lines, lines[2]], "revision 4 is missing"),
        (lambda lines: [*lines[:2], lines[2].replace(b"alice", b"mal__")], "line 3"),
        (lambda lines: [b"\n", *lines, b"hello\n"], "line 4"),
        (lambda lines: [*lines[:2], lines[2].replace(b"i", b"\xff")], "line 3"),
        (lambda lines: [lines[0], lines[1].replace(b"a", b"\0"), lines[2]], "line 2"),
    ],
)
async def test_damage_is_never_passed_over(file: Path, harm: Any, words: str) -> None:
    """Whatever else is wrong ends the start, with the file, the place and what helps."""
    await changed(file, 5, 6)
    file.write_bytes(b"".join(harm(file.read_bytes().splitlines(keepends=True))))
    with pytest.raises(DamagedHistory, match=words) as caught:
        opened(file)
    assert str(file) in str(caught.value)
    assert "move it away" in str(caught.value)


def test_what_cannot_be_read_ends_the_start(file: Path) -> None:
    """Overrides that may be there are not passed over."""
    file.mkdir(parents=True)
    with pytest.raises(DamagedHistory, match="cannot be read"):
        opened(file)


async def test_the_file_is_bounded(file: Path) -> None:
    """Of twice as many lines as are kept, the older half goes; numbers continue."""
    await changed(file, *range(10, 10 + 2 * MAX_REVISIONS + 20))
    lines = file.read_bytes().splitlines()
    assert MAX_REVISIONS <= len(lines) <= 2 * MAX_REVISIONS
    store = opened(file)
    assert 2 * MAX_REVISIONS + 21 == store.revision.number
    assert MAX_REVISIONS == len(store.revisions())
    assert not file.with_suffix(".new").exists()


@pytest.mark.parametrize("broken", ["pwrite", "fsync", "ftruncate", "open"])
async def test_a_failed_write_leaves_the_file_as_it_was(
    file: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """A full disk, wherever it shows, is a typed failure; the next change works again."""
    await changed(file, 5)
    before, store = file.read_bytes(), opened(file)

    def fail(*_args: object, **_more: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(revision_file.os, broken, fail)
        with pytest.raises(NotKept, match="No space left on device"):
            await store.update({IDLE: 6})
    assert (before, 5.0) == (file.read_bytes(), store.current.execution.idle_timeout_seconds)
    assert 3 == (await store.update({IDLE: 6})).number
    await store.aclose()
    assert 6.0 == opened(file).current.execution.idle_timeout_seconds


async def test_half_a_write_is_taken_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where some bytes were written before the disk was full, they are removed."""
    await changed(file, 5)
    before, store, real = file.read_bytes(), opened(file), os.pwrite

    def half(opened: int, data: bytes, place: int) -> int:
        if place > len(before):
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(opened, data[:20], place)

    with monkeypatch.context() as patch:
        patch.setattr(revision_file.os, "pwrite", half)
        with pytest.raises(NotKept):
            await store.update({IDLE: 6})
    assert before == file.read_bytes()
    await store.aclose()


async def test_one_server_at_a_time_writes(file: Path) -> None:
    """Another one reads what is kept, and is refused a change; also after the first has gone."""
    await changed(file, 5)
    one, other = opened(file), opened(file)
    await one.update({IDLE: 6})
    with pytest.raises(NotKept, match="in use by another server"):
        await other.update({IDLE: 7})
    await one.aclose()
    with pytest.raises(NotKept, match="restart this server"):
        await other.update({IDLE: 7})
    await other.aclose()
    assert 6.0 == opened(file).current.execution.idle_timeout_seconds


async def test_a_file_system_without_locks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are kept there as well."""

    def fail(*_args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    await changed(file, 5)
    assert 5.0 == opened(file).current.execution.idle_timeout_seconds


KILLED = """
import asyncio, sys
from pathlib import Path
from gemini_backend.config import ConfigStore, RevisionFile, read
async def main():
    store = ConfigStore(read(None, {}), kept=RevisionFile(Path(sys.argv[1])))
    seconds = 10.0
    while True:
        seconds += 1
        await store.update({"execution.idle_timeout_seconds": seconds})
        print(seconds, flush=True)
asyncio.run(main())
"""


@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_killed_server_loses_nothing_that_it_answered(file: Path, after: int) -> None:
    """Whatever was in force before the kill, or a later revision, is found again."""
    command = [sys.executable, "-c", KILLED, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(after):
            answered = float(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    answered = float(rest[-1]) if rest else answered
    found = ConfigStore(read(None, {}), kept=RevisionFile(file)).current
    assert found.execution.idle_timeout_seconds in {answered, answered + 1}


WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    number=st.integers(1, 10**9),
    author=WORDS,
    comment=WORDS,
    seconds=st.floats(0, 3600),
    changed_paths=st.lists(WORDS, max_size=3).map(tuple),
)
def test_a_line_has_all_of_a_revision(
    number: int, author: str, comment: str, seconds: float, changed_paths: tuple[str, ...]
) -> None:
    """What is written is read again, whatever it is, in one line."""
    given_values = {
        **SOURCES.given,
        IDLE: type(SOURCES.given[IDLE])(seconds, SOURCES.given["retry.max_attempts"].origin),
    }
    change = Change(author, comment)
    revision = Revision(number, "e", given_values, 1.5, change, changed_paths, rollback_of=3)
    line = line_of(revision)
    assert 1 == line.count(b"\n")
    assert revision == revision_of(line[:-1], SOURCES.given)


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(1, 255))
def test_no_line_is_read_that_was_not_written(noise: bytes, place: int, flip: int) -> None:
    """Any bytes, and a line with a byte changed, are damage."""
    line = bytearray(line_of(Revision(1, "e", SOURCES.given, 1.5))[:-1])
    line[place % len(line)] ^= flip
    for wrong in (noise, bytes(line)):
        with pytest.raises(DamagedLineError):
            revision_of(wrong, SOURCES.given)
