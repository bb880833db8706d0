"""Audit logs in a folder of a test's, with a fixed key."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini_backend.audit.entry import Act
from gemini_backend.audit.files.place import MAX_FILE_BYTES, Place
from gemini_backend.audit.files.verification import Verdict, verify
from gemini_backend.audit.files.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KEY = bytes(range(32))
NOON = datetime(2026, 11, 30, 12, 0, 0, 123456, UTC)


def place_in(folder: Path) -> Place:
    """Return the place of a log below a folder."""
    return Place(folder / "audit", folder / "audit.head")


def writer_in(folder: Path, max_file_bytes: int = MAX_FILE_BYTES) -> Writer:
    """Return a writer of its own; the time is always the same."""
    return Writer(place_in(folder), lambda: KEY, now=lambda: NOON, max_file_bytes=max_file_bytes)


def acts(number: int, first: int = 1) -> list[Act]:
    """Return acts that differ in their targets."""
    return [Act("keys create", f"keys/k{first + i}") for i in range(number)]


def written(folder: Path, *batches: int, max_file_bytes: int = MAX_FILE_BYTES) -> Writer:
    """Return a writer that has written batches of so many acts."""
    writer, done = writer_in(folder, max_file_bytes), 0
    for batch in batches:
        writer.append(acts(batch, done + 1))
        done += batch
    return writer


def verdict(folder: Path) -> Verdict:
    """Return what a verification finds."""
    return verify(place_in(folder), lambda: KEY)


class HeldWriter(Writer):
    """A writer whose disk a test holds: writes wait for `go`, and fail with `error` if it is set.

    Attributes:
        batches: Acts of each write, in order.
    """

    def __init__(self, folder: Path) -> None:
        """Let writes pass, until a test clears `go`."""
        super().__init__(place_in(folder), lambda: KEY, now=lambda: NOON)
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.batches: list[list[Act]] = []

    def append(self, acts: Sequence[Act]) -> int:
        """Write, when the test lets it."""
        self.go.wait(10)
        if self.error is not None:
            raise self.error
        self.batches.append(list(acts))
        return super().append(acts)
