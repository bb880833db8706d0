"""Whether the configuration file has changed."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from gemini_backend.commands import file_watch
from gemini_backend.commands.file_watch import FileWatch, content_of
from gemini_backend.commands.reload import Reloader
from gemini_backend.config import ConfigStore, read

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file."""
    file = tmp_path / "backend.toml"
    file.write_text("a = 1")
    return file


@pytest.fixture
def watch(file: Path) -> FileWatch:
    """Return a watch that has looked once."""
    watch = FileWatch(reloader(file))
    assert not watch.look()
    return watch


def reloader(file: Path) -> Reloader:
    """Return a reloader that has dealt with the file as it is."""
    settings = read(None, {})
    store = ConfigStore(settings)
    return Reloader(str(file), lambda: settings, store.reload, taken=content_of(str(file)))


def test_nothing_has_changed(watch: FileWatch, file: Path) -> None:
    """A file that was touched, or written again as it was, has not changed."""
    os.utime(file, (1, 1))
    assert [False, False] == [watch.look() for _ in range(2)]
    file.write_text("a = 1")
    assert [False, False] == [watch.look() for _ in range(2)]


def test_a_change_must_stay_for_two_looks(watch: FileWatch, file: Path) -> None:
    """Half a file, which is not the same at the next look, is not taken."""
    for text in ("a", "a =", "a = 22"):
        file.write_text(text)
        assert not watch.look()
    assert watch.look()


def test_a_change_of_the_same_size_and_time(watch: FileWatch, file: Path) -> None:
    """The content counts, whatever the file system says of it."""
    before = file.stat()
    file.write_text("a = 2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [False, True] == [watch.look() for _ in range(2)]


def test_another_file_in_its_place(watch: FileWatch, file: Path) -> None:
    """Editors write another file and rename it."""
    other = file.with_suffix(".tmp")
    other.write_text("a = 2")
    other.replace(file)
    assert [False, True] == [watch.look() for _ in range(2)]


def test_links_that_are_turned(tmp_path: Path) -> None:
    """Kubernetes turns a link to a folder, two links away from the file."""
    for name, text in (("one", "a = 1"), ("two", "a = 2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "backend.toml").write_text(text)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "backend.toml").symlink_to("..data/backend.toml")
    watch = FileWatch(reloader(tmp_path / "backend.toml"))
    assert not watch.look()
    (tmp_path / "..new").symlink_to("two")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert [False, True] == [watch.look() for _ in range(2)]


def test_a_file_that_is_gone(watch: FileWatch, file: Path) -> None:
    """It has changed once it stays away; a moment without it is nothing."""
    file.unlink()
    assert not watch.look()
    file.write_text("a = 1")
    assert [False, False] == [watch.look() for _ in range(2)]
    file.unlink()
    assert [False, True] == [watch.look() for _ in range(2)]


def test_what_is_dealt_with_is_not_asked_for_again(watch: FileWatch, file: Path) -> None:
    """Whether it was taken or refused."""
    file.write_text("a = 2")
    assert [False, True, True] == [watch.look() for _ in range(3)]
    watch._reloader.taken = content_of(str(file))
    assert not watch.look()


def test_a_file_without_end_costs_no_more_than_a_configuration() -> None:
    """Of what is larger than a configuration may be, the beginning is read."""
    assert 16 == len(content_of("/dev/zero"))


async def test_the_thread_asks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks the reloader on the event loop, until it is stopped."""
    monkeypatch.setattr(file_watch, "PAUSE_SECONDS", 0.001)
    asked = asyncio.Event()
    watched = reloader(file)
    monkeypatch.setattr(watched, "found_changed", asked.set)
    watch = FileWatch(watched)
    watch.start(asyncio.get_running_loop())
    await asyncio.to_thread(file.write_text, "a = 2")
    assert await asyncio.wait_for(asked.wait(), 10)
    watch.stop()
