"""Files of this user only."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from gemini_backend.disk import private_files as files

if TYPE_CHECKING:
    from pathlib import Path


def names(folder: Path) -> list[str]:
    """Return what a folder has."""
    return sorted(one.name for one in folder.iterdir())


def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Whatever the umask is; so are the folders that are made for it."""
    before = os.umask(0)
    try:
        files.create(tmp_path / "a" / "one", b"1")
        files.replace(tmp_path / "a" / "two", b"2")
    finally:
        os.umask(before)
    modes = [(tmp_path / "a" / name).stat().st_mode & 0o777 for name in ("one", "two", "")]
    assert [0o600, 0o600, 0o700] == modes


def test_the_first_to_create_wins(tmp_path: Path) -> None:
    """Others are told, and nothing is left of theirs."""
    made = [files.create(tmp_path / "f", data) for data in (b"first", b"second")]
    assert ([True, False], b"first", ["f"]) == (
        made,
        (tmp_path / "f").read_bytes(),
        names(tmp_path),
    )


def test_without_hard_links_a_file_is_created_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on some network file systems."""

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    made = [files.create(tmp_path / "f", data) for data in (b"first", b"second")]
    assert ([True, False], b"first", ["f"]) == (
        made,
        (tmp_path / "f").read_bytes(),
        names(tmp_path),
    )


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_what_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """The old file stays, and no draft does."""
    files.replace(tmp_path / "f", b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, fails, full) if fails == "fsync" else monkeypatch.setattr(
        "pathlib.Path.replace", full
    )
    with pytest.raises(OSError, match="No space left"):
        files.replace(tmp_path / "f", b"new")
    assert (b"old", ["f"]) == ((tmp_path / "f").read_bytes(), names(tmp_path))


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, (0, 0)), (0o640, (1, 0)), (0o604, (1, 0)), (0o620, (0, 1))]
)
def test_who_else_may_is_seen(tmp_path: Path, mode: int, expected: tuple[bool, bool]) -> None:
    """Group and others count alike."""
    file = tmp_path / "f"
    file.write_bytes(b"x")
    file.chmod(mode)
    found = files.read(file, 10)
    assert (b"x", *expected) == found


def test_a_pipe_a_folder_and_a_large_file_are_refused(tmp_path: Path) -> None:
    """At once: nobody waits for a pipe."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    for name, why in (("pipe", "regular"), ("large", "larger than 10 bytes")):
        with pytest.raises(files.UnusableFileError, match=why):
            files.read(tmp_path / name, 10)
    with pytest.raises((files.UnusableFileError, IsADirectoryError)):
        files.read(tmp_path, 10)


def test_one_at_a_time(tmp_path: Path) -> None:
    """Threads as well as processes."""
    inside, most = 0, 0

    def enter() -> None:
        nonlocal inside, most
        with files.alone(tmp_path / "lock"):
            inside += 1
            most = max(most, inside)
            os.sched_yield()
            inside -= 1

    threads = [threading.Thread(target=enter) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert most == 1


def test_the_wait_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that hangs with the lock does not hang others."""
    monkeypatch.setattr(files, "_LOCK_WAIT_SECONDS", 0.0)
    with files.alone(tmp_path / "lock"), pytest.raises(TimeoutError):  # noqa: SIM117
        with files.alone(tmp_path / "lock"):
            pass
