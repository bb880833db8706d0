"""What a verification finds.

Covers: audit/files/head.py, audit/files/lines.py, audit/files/place.py, audit/files/sealing.py
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.audit.entry import Act
from gemini_backend.audit.files.sealing import MAX_LINE_BYTES
from gemini_backend.audit.files.verification import MAX_DEFECTS, verify
from tests.support.audit_logs import KEY, acts, place_in, verdict, writer_in, written

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST = "audit/audit-000001.jsonl"
SMALL = 700


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


def put(file: Path, given: list[bytes]) -> None:
    file.write_bytes(b"".join(given))


def edited(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"keys/k2", b"keys/k9"))


def deleted(file: Path) -> None:
    put(file, [one for place, one in enumerate(lines(file)) if place != 2])


def first_deleted(file: Path) -> None:
    put(file, lines(file)[1:])


def reordered(file: Path) -> None:
    one, two, *rest = lines(file)
    put(file, [two, one, *rest])


def duplicated(file: Path) -> None:
    one, *rest = lines(file)
    put(file, [one, one, *rest])


def truncated(file: Path) -> None:
    put(file, lines(file)[:-2])


def cut_within_a_line(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def without_last_line_feed(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    file.unlink()


def appended(file: Path) -> None:
    file.write_bytes(file.read_bytes() + lines(file)[-1].replace(b'"sequence":5', b'"sequence":6'))


def half_appended(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b'{"seq')


def other_spelling(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b'"code":"OK"', b'"code": "OK"', 1))


def long_line(file: Path) -> None:
    put(file, [b"x" * (3 * MAX_LINE_BYTES) + b"\n", *lines(file)])


def test_a_log_that_was_only_written_is_intact(tmp_path: Path) -> None:
    """Entries of several writes, in several files, are complete and unchanged."""
    written(tmp_path, 1, 3, 2, 1, max_file_bytes=SMALL)
    assert (7, 7, ()) == verdict(tmp_path)
    assert [1, 2] == place_in(tmp_path).numbers()


def test_no_log_is_intact(tmp_path: Path) -> None:
    """Where nothing was ever written, nothing is missing, and nothing is made."""
    assert (0, 0, ()) == verdict(tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("attack", "says"),
    [
        (edited, "entry 2, or the one before it, was changed"),
        (deleted, "entry 3 is missing before entry 4"),
        (first_deleted, "entry 1 is missing before entry 2"),
        (reordered, "entry 1 is repeated, or out of order, after 2"),
        (duplicated, "entry 1 is repeated, or out of order, after 1"),
        (truncated, "entries 4 to 5 are missing at the end"),
        (cut_within_a_line, "a piece of an entry"),
        (without_last_line_feed, "a piece of an entry"),
        (emptied, "entries 1 to 5 are missing at the end"),
        (removed, "entries 1 to 5 are missing at the end"),
        (appended, "entry 6, or the one before it, was changed"),
        (half_appended, "a piece of an entry"),
        (other_spelling, "entry 1, or the one before it, was changed"),
        (long_line, "a line without an entry"),
    ],
)
def test_each_way_of_altering_the_log_is_found(
    tmp_path: Path, attack: Callable[[Path], None], says: str
) -> None:
    """What was done to the file is said in words."""
    written(tmp_path, 2, 2, 1)
    attack(tmp_path / FIRST)
    found = verdict(tmp_path)
    assert not found.intact
    assert says in " / ".join(found.defects)


@pytest.mark.parametrize("attack", [truncated, cut_within_a_line, emptied, removed])
def test_truncation_followed_by_new_entries_leaves_a_gap(
    tmp_path: Path, attack: Callable[[Path], None]
) -> None:
    """The writer, the same or another one, goes on after what the head counts."""
    for name, again in (("same", False), ("other", True)):
        folder = tmp_path / name
        writer = written(folder, 2, 2, 1)
        attack(folder / FIRST)
        (writer_in(folder) if again else writer).append(acts(3))
        found = verdict(folder)
        assert 9 == found.expected
        assert any("missing before entry 6" in one for one in found.defects)


def test_files_that_changed_places_are_found(tmp_path: Path) -> None:
    """Each file has a place in the chain."""
    written(tmp_path, 3, 3, 3, max_file_bytes=SMALL)
    first, second = place_in(tmp_path).file(1), place_in(tmp_path).file(2)
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    assert not verdict(tmp_path).intact


def test_a_removed_file_is_named(tmp_path: Path) -> None:
    """A file between others is missing by its name, with the entries that it had."""
    written(tmp_path, 3, 3, 3, max_file_bytes=SMALL)
    place_in(tmp_path).file(2).unlink()
    found = verdict(tmp_path).defects
    assert "audit-000002.jsonl is missing" == found[0]
    assert "entries 4 to 6 are missing before entry 7" in found[1]


def test_a_file_of_others_in_the_folder_is_named(tmp_path: Path) -> None:
    """What is no part of the log is not overlooked."""
    written(tmp_path, 1)
    (tmp_path / "audit/audit-1.jsonl").write_text("x")
    assert "'audit-1.jsonl' is in the folder" in verdict(tmp_path).defects[0]


def test_a_head_of_another_key_or_none_is_found(tmp_path: Path) -> None:
    """The expected length is believed only with its seal; without it, it is not known."""
    written(tmp_path, 2)
    written(tmp_path / "other", 3)
    head = tmp_path / "audit.head"
    head.write_bytes(head.read_bytes().replace(b'"sequence":2', b'"sequence":1'))
    assert "audit.head is not as this server wrote it" in verdict(tmp_path).defects[0]
    head.unlink()
    assert "is missing: the expected length is not known" in verdict(tmp_path).defects[0]
    head.write_bytes((tmp_path / "other/audit.head").read_bytes())
    assert not verdict(tmp_path).intact


def test_an_older_head_is_found(tmp_path: Path) -> None:
    """A head that is more than one write behind was put back by somebody."""
    writer = written(tmp_path, 1)
    head = (tmp_path / "audit.head").read_bytes()
    writer.append(acts(1))
    writer.append(acts(2))
    (tmp_path / "audit.head").write_bytes(head)
    assert ["audit.head counts 1 entries and there are 4: it was replaced by an older one"] == list(
        verdict(tmp_path).defects
    )


def test_another_key_finds_everything_changed(tmp_path: Path) -> None:
    """Without the key nobody makes a log that passes."""
    written(tmp_path, 2)
    assert not verify(place_in(tmp_path), lambda: bytes(32)).intact


def test_defects_are_counted_beyond_a_hundred(tmp_path: Path) -> None:
    """At most 100 are in words; the last of them says how many more there are."""
    written(tmp_path, *[60] * 3)
    file = tmp_path / FIRST
    file.write_bytes(file.read_bytes().replace(b'"code":"OK"', b'"code":"KO"'))
    found = verdict(tmp_path)
    assert MAX_DEFECTS == len(found.defects)
    assert "and 81 more defects" == found.defects[-1]


def test_a_verification_can_be_stopped(tmp_path: Path) -> None:
    """What `pause` raises ends it; it is called while there are lines."""
    written(tmp_path, *[60] * 4)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        verify(place_in(tmp_path), lambda: KEY, stop)


def _log() -> dict[str, bytes]:
    """Return the files of a small log."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        writer = written(folder, 1, 2, max_file_bytes=SMALL)
        writer.append([Act("x", "ü", details={"a": "b"})])
        files = [folder / "audit.head", *sorted((folder / "audit").glob("*.jsonl"))]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}


FILES = _log()


@given(st.data())
def test_any_single_change_of_the_bytes_is_found(data: st.DataObject) -> None:
    """One byte changed, removed, added, or a span of them cut, copied or zeroed: it is found."""
    name = data.draw(st.sampled_from(sorted(FILES)))
    old = FILES[name]
    at = data.draw(st.integers(0, len(old) - 1))
    end = data.draw(st.integers(at + 1, len(old)))
    byte = bytes([data.draw(st.integers(0, 255))])
    new = data.draw(
        st.sampled_from(
            [
                old[:at] + byte + old[at + 1 :],
                old[:at] + old[at + 1 :],
                old[:at] + byte + old[at:],
                old + byte,
                old[:at] + old[end:],
                old[:end] + old[at:end] + old[end:],
                old[:at] + bytes(end - at) + old[end:],
                old[:at],
            ]
        )
    )
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for each, content in FILES.items():
            (folder / each).parent.mkdir(exist_ok=True)
            (folder / each).write_bytes(new if each == name else content)
        assert (new == old) == verdict(folder).intact
        shutil.rmtree(folder / "audit")
