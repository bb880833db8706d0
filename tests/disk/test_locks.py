"""Locks of files and folders."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import TYPE_CHECKING

from gemini_backend.disk import locked

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_one_at_a_time_or_several_together(tmp_path: Path) -> None:
    """One lock for oneself, or several that are shared; closing the descriptor ends it."""
    one, other = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    try:
        assert [True, False] == [locked(one), locked(other)]
        assert [True, True] == [locked(each, fcntl.LOCK_SH) for each in (one, other)]
        os.close(one)
        assert locked(other)
        one = os.open(tmp_path, os.O_RDONLY)
        assert not locked(one)
    finally:
        os.close(one)
        os.close(other)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lets everybody in."""

    def fail(*_args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    held = os.open(tmp_path, os.O_RDONLY)
    try:
        assert locked(held)
    finally:
        os.close(held)
