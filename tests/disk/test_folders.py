"""Names that last through a loss of power."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from gemini_backend.disk import sync_folder

if TYPE_CHECKING:
    from pathlib import Path


def test_the_folder_itself_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its descriptor, which is closed afterwards, also where the disk fails."""
    seen: list[int] = []

    def fsync(opened: int) -> None:
        assert stat.S_ISDIR(os.fstat(opened).st_mode)
        seen.append(opened)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(seen[0])
