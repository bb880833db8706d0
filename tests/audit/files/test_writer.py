"""Writing, what a writer finds, and what becomes of it.

Covers: audit/files/recovery.py
"""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from gemini_backend.audit.entry import ALTERED, TORN
from gemini_backend.audit.files.recovery import MAX_BATCH
from tests.support.audit_logs import acts, place_in, verdict, writer_in, written

FIRST, HEAD = "audit/audit-000001.jsonl", "audit.head"


def entries(folder: Path) -> list[dict[str, Any]]:
    """Return what can be read of the log, in the order of its lines."""
    files = map(place_in(folder).file, place_in(folder).numbers())
    lines = [line for file in files for line in file.read_bytes().splitlines()]
    return [json.loads(one) for one in lines if b'"mac"' in one and one.endswith(b'"}')]


def actions(folder: Path) -> list[str]:
    return [one["action"] for one in entries(folder)]


def test_entries_are_numbered_without_gaps(tmp_path: Path) -> None:
    """The sequence goes on over writes, files and writers."""
    written(tmp_path, 2, 3, max_file_bytes=300)
    assert 7 == writer_in(tmp_path).append(acts(2))
    assert list(range(1, 8)) == [one["sequence"] for one in entries(tmp_path)]
    assert verdict(tmp_path).intact


def test_a_full_file_is_followed_by_the_next(tmp_path: Path) -> None:
    """A write goes into one file as a whole; none is removed."""
    written(tmp_path, *[1] * 5, max_file_bytes=1)
    assert [1, 2, 3, 4, 5] == place_in(tmp_path).numbers()
    assert verdict(tmp_path).intact


def test_a_crash_between_entries_and_head_loses_nothing(tmp_path: Path) -> None:
    """Entries that the head does not count yet are taken up, in the same file or the next."""
    for name, size in (("same", 10_000), ("next", 1)):
        folder = tmp_path / name
        writer = written(folder, 1, max_file_bytes=size)
        head = (folder / HEAD).read_bytes()
        writer.append(acts(3, 2))
        (folder / HEAD).write_bytes(head)
        assert (4, 4, ()) == verdict(folder)
        assert 5 == writer_in(folder, size).append(acts(1, 5))
        assert (5, 5, ()) == verdict(folder)


def test_a_crash_before_the_first_entry_is_no_alteration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The head is there before the first file."""

    def crashes(*_args: Any) -> int:
        raise SystemExit

    writer = writer_in(tmp_path)
    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(writer, "_store", crashes)
        writer.append(acts(1))
    assert (0, 0, ()) == verdict(tmp_path)
    (tmp_path / FIRST).write_bytes(b"")
    assert (0, 0, ()) == verdict(tmp_path)
    assert 1 == writer_in(tmp_path).append(acts(1))


@pytest.mark.parametrize("piece", [b'{"sequence":3,"bat', b"\0" * 100, b'{"a\0\0\0b"}\n'])
def test_an_interrupted_write_is_cut_off_and_noted(tmp_path: Path, piece: bytes) -> None:
    """A piece without a line feed, or with zero bytes, was never reported as written."""
    written(tmp_path, 2)
    with (tmp_path / FIRST).open("ab") as file:
        file.write(piece)
    assert not verdict(tmp_path).intact
    writer = writer_in(tmp_path)
    writer.append(acts(1, 3))
    assert ["keys create", "keys create", TORN, "keys create"] == actions(tmp_path)
    assert str(len(piece)) == entries(tmp_path)[2]["details"]["cut_off_bytes"]
    assert verdict(tmp_path).intact
    assert "" == writer.altered


def test_a_piece_after_entries_that_are_taken_up(tmp_path: Path) -> None:
    """Of a write that was interrupted, whole entries count, and the piece does not."""
    writer = written(tmp_path, 1)
    head = (tmp_path / HEAD).read_bytes()
    writer.append(acts(3, 2))
    (tmp_path / HEAD).write_bytes(head)
    file = tmp_path / FIRST
    file.write_bytes(file.read_bytes()[:-50])
    writer_in(tmp_path).append(acts(1, 5))
    assert ["keys/k1", "keys/k2", "keys/k3", file.name, "keys/k5"] == [
        one["target"] for one in entries(tmp_path)
    ]
    assert verdict(tmp_path).intact


def test_lines_of_others_at_the_end_are_left_and_noted(tmp_path: Path) -> None:
    """Whole lines are no interrupted write: they stay, and the log is never intact again."""
    written(tmp_path, 2)
    file = tmp_path / FIRST
    file.write_bytes(file.read_bytes() + b'{"sequence":3}\n')
    writer = writer_in(tmp_path)
    writer.append(acts(1, 3))
    assert b'{"sequence":3}\n' in file.read_bytes()
    assert "were not written by this server" in writer.altered
    assert not verdict(tmp_path).intact
    writer.append(acts(1, 4))
    assert 1 == actions(tmp_path).count(ALTERED)
    assert not verdict(tmp_path).intact


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_lost_head_is_noted_for_good(tmp_path: Path, content: bytes | None) -> None:
    """Without the expected length, entries may be missing: an entry says so, and verify does."""
    written(tmp_path, 3)
    file = tmp_path / FIRST
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    if content is None:
        (tmp_path / HEAD).unlink()
    else:
        (tmp_path / HEAD).write_bytes(content)
    writer_in(tmp_path).append(acts(1))
    assert ["keys create", "keys create", ALTERED, "keys create"] == actions(tmp_path)
    found = verdict(tmp_path)
    assert (4, 4) == (found.entries, found.expected)
    assert any("noted in entry 3" in one for one in found.defects)


def test_a_log_put_back_is_noticed_by_whoever_wrote_more(tmp_path: Path) -> None:
    """Log and head of an earlier time fit together; the process that wrote since goes on."""
    writer = written(tmp_path, 1)
    saved = {name: (tmp_path / name).read_bytes() for name in (FIRST, HEAD)}
    writer.append(acts(2, 2))
    for name, data in saved.items():
        (tmp_path / name).write_bytes(data)
    writer.append(acts(1, 4))
    assert "replaced by an older one" in writer.altered
    assert any("entries 2 to 3 are missing" in one for one in verdict(tmp_path).defects)


def test_everything_removed_is_noticed_by_whoever_wrote_it(tmp_path: Path) -> None:
    """The log and its head are gone; the chain goes on where it was."""
    writer = written(tmp_path, 3)
    (tmp_path / FIRST).unlink()
    (tmp_path / HEAD).unlink()
    writer.append(acts(1, 4))
    assert any("entries 1 to 3 are missing" in one for one in verdict(tmp_path).defects)


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could be written of a batch is cut off again, and the next write is whole."""
    writer = written(tmp_path, 1)
    real = os.write

    def full(opened: int, data: bytes) -> int:
        if len(data) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(opened, data[:-50])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            writer.append(acts(1, 2))
    assert (1, 1, ()) == verdict(tmp_path)
    assert 2 == writer.append(acts(1, 2))
    assert (2, 2, ()) == verdict(tmp_path)


def test_a_head_that_cannot_be_written_lets_no_two_writes_be_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes fail until the head counts the one before them."""
    writer = written(tmp_path, 1)

    def broken(*_args: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", broken)
        for _ in range(3):
            with pytest.raises(OSError, match="Input/output"):
                writer.append(acts(1, 2))
    assert 3 == writer.append(acts(1, 3))
    assert (3, 3, ()) == verdict(tmp_path)


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    """Nothing is written to where a link leads."""
    place_in(tmp_path).make()
    (tmp_path / "victim").write_text("")
    (tmp_path / FIRST).symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        writer_in(tmp_path).append(acts(1))
    assert "" == (tmp_path / "victim").read_text()


def _append_many(folder: Path, name: str) -> None:
    writer = writer_in(folder)
    for number in range(20):
        writer.append([act._replace(principal=name) for act in acts(2, number)])


def test_several_processes_write_one_log(tmp_path: Path) -> None:
    """Servers and commands side by side: every entry is there, and the chain holds."""
    context = multiprocessing.get_context("forkserver")
    names = ["a", "b", "c"]
    processes = [context.Process(target=_append_many, args=(tmp_path, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (120, 120, ()) == verdict(tmp_path)
    found = entries(tmp_path)
    assert dict.fromkeys(names, 40) == {
        name: sum(one["principal"] == name for one in found) for name in names
    }
    assert len(found) > MAX_BATCH
