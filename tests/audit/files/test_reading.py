"""Reading the log from its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.audit.files import reading
from gemini_backend.audit.files.reading import Position, read_page
from gemini_backend.audit.files.sealing import MAX_LINE_BYTES
from tests.support.audit_logs import place_in, written

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_backend.audit.entry import Entry


def anything(_entry: Entry) -> bool:
    return True


def pages(folder: Path, size: int) -> list[list[int]]:
    """Return the sequences of all pages."""
    found, at = [], None
    while True:
        page = read_page(place_in(folder), at, size, anything)
        found.append([entry.sequence for entry in page.entries])
        at = page.next
        if at is None:
            return found


@pytest.mark.parametrize("most", [1, 700, 100_000])
def test_pages_have_each_entry_once_latest_first(tmp_path: Path, most: int) -> None:
    """Over all files, whatever their size; the last page has no next one."""
    written(tmp_path, 3, 3, 1, max_file_bytes=most)
    assert [[7, 6, 5], [4, 3, 2], [1]] == pages(tmp_path, 3)
    assert [[7, 6, 5, 4, 3, 2, 1]] == pages(tmp_path, 7)
    assert [[]] == pages(tmp_path / "none", 7)


def test_entries_written_meanwhile_change_no_page(tmp_path: Path) -> None:
    """A position stays where it is."""
    writer = written(tmp_path, 4)
    first = read_page(place_in(tmp_path), None, 2, anything)
    writer.append([])
    written(tmp_path, 2)
    second = read_page(place_in(tmp_path), first.next, 2, anything)
    assert [2, 1] == [entry.sequence for entry in second.entries]


def test_a_page_reads_no_more_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where few entries are wanted, a page may have fewer, and is followed by others."""
    monkeypatch.setattr(reading, "MAX_LINES", 5)
    written(tmp_path, 12)
    page = read_page(place_in(tmp_path), None, 10, lambda entry: entry.sequence == 1)
    assert [] == page.entries
    page = read_page(place_in(tmp_path), page.next, 10, lambda entry: entry.sequence == 1)
    page = read_page(place_in(tmp_path), page.next, 10, lambda entry: entry.sequence == 1)
    assert ([1], None) == ([entry.sequence for entry in page.entries], page.next)


def test_what_cannot_be_read_is_not_left_out(tmp_path: Path) -> None:
    """A line that is not an entry, however long it is, has one in its place."""
    written(tmp_path, 2)
    file = tmp_path / "audit/audit-000001.jsonl"
    one, two = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(one + b"x" * 5 * MAX_LINE_BYTES + b"\n" + b"y\n" + two)
    found = read_page(place_in(tmp_path), None, 10, anything).entries
    assert [2, 0, 0, 1] == [entry.sequence for entry in found]
    assert ("unreadable", f"audit-000001.jsonl, byte {len(one)}") == (
        found[2].action,
        found[2].target,
    )


def test_a_write_in_progress_is_not_shown(tmp_path: Path) -> None:
    """The end of the last file may be half of a line."""
    written(tmp_path, 2)
    with (tmp_path / "audit/audit-000001.jsonl").open("ab") as file:
        file.write(b'{"sequence":3')
    assert [[2, 1]] == pages(tmp_path, 5)


@pytest.mark.parametrize("at", [Position(1, 3), Position(2, 0), Position(1, 10**9), Position(0, 0)])
def test_a_position_between_two_lines_only(tmp_path: Path, at: Position) -> None:
    """A position that no page has given is refused."""
    written(tmp_path, 2)
    with pytest.raises(ValueError, match="there is no line"):
        read_page(place_in(tmp_path), at, 5, anything)
