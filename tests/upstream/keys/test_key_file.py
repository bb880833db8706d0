"""Keys in a file that others write."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gemini_backend.upstream.keys.key_file import KeyFile
from gemini_backend.upstream.keys.known_key import KeyProblem

if TYPE_CHECKING:
    from pathlib import Path


def written(file: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file."""
    file.write_text(text)
    file.chmod(mode)
    return file


def texts(file: KeyFile) -> list[str]:
    """Return the keys' texts."""
    return [one.text.reveal() for one in file.keys(file.data())]


def test_a_swapped_link_is_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts a secret: a link to a link to a folder that is replaced."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "keys", f"key-of-{name}")
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "keys").symlink_to("..data/keys")
    file = KeyFile(str(tmp_path / "keys"))
    before = texts(file)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "..data")
    assert ["key-of-one", "key-of-two"] == before + texts(file)


def test_a_missing_or_unreadable_file_is_a_problem(tmp_path: Path) -> None:
    """It names the setting and the fix; a pipe keeps nobody waiting."""
    os.mkfifo(tmp_path / "pipe")
    for path, says in (
        (tmp_path / "none", "does not exist"),
        (tmp_path / "pipe", "is not a regular file"),
        (written(tmp_path / "large", "x" * 1_100_000), "is larger than"),
        (written(tmp_path / "open", "key-1", 0o666), "others may write .*chmod 600"),
    ):
        with pytest.raises(KeyProblem, match=rf"upstream\.gemini\.api_keys_file.*{says}|{says}"):
            KeyFile(str(path)).data()


def test_a_file_that_others_may_read_is_warned_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is used: containers mount secrets so."""
    file = KeyFile(str(written(tmp_path / "keys", "key-1", 0o444)))
    assert ["key-1"] * 2 == texts(file) + texts(file)
    assert ["secret_file"] == [record.message for record in caplog.records]
