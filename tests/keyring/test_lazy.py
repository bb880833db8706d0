"""The keyring of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.config.sections.auth import SecretsOptions
from gemini_backend.keyring import Keyring, LazyKeyring, MasterKeys
from gemini_backend.keyring.errors import MasterKeyError, WrongMasterKeyError

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = bytes(range(100, 132)), bytes(range(50, 82))


def lazy(folder: Path, *masters: bytes) -> LazyKeyring:
    """Return a keyring with a file of master keys, or without."""
    if not masters:
        return LazyKeyring(str(folder), SecretsOptions())
    file = folder / "given"
    file.write_text("\n".join(key.hex() for key in masters))
    file.chmod(0o600)
    return LazyKeyring(str(folder / "state"), SecretsOptions(master_key_file=str(file)))


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    """Then the master key and the keyring are made, and stay."""
    keyring = lazy(tmp_path / "state")
    keyring.reopen()
    assert not (tmp_path / "state").exists()
    key = keyring.key("audit")
    made = sorted(one.name for one in (tmp_path / "state").iterdir())
    assert ["keyring.json", "keyring.lock", "master.key"] == made
    assert key == lazy(tmp_path / "state").key("audit")


def test_a_lost_master_key_is_not_replaced(tmp_path: Path) -> None:
    """A keyring that is encrypted with it is there."""
    key = lazy(tmp_path).key("audit")
    (tmp_path / "master.key").rename(tmp_path / "saved")
    with pytest.raises(MasterKeyError, match="restore"):
        lazy(tmp_path).key("audit")
    (tmp_path / "saved").rename(tmp_path / "master.key")
    assert key == lazy(tmp_path).key("audit")


def test_a_failure_lasts_until_it_is_mended(tmp_path: Path) -> None:
    """Without a restart."""
    keyring = lazy(tmp_path, OLD)
    (tmp_path / "given").write_text("")
    with pytest.raises(MasterKeyError):
        keyring.key("audit")
    (tmp_path / "given").write_text(OLD.hex())
    assert 32 == len(keyring.key("audit"))


def test_master_keys_are_read_again(tmp_path: Path) -> None:
    """Without a restart, all is encrypted with the first of them; the keys stay."""
    keyring = lazy(tmp_path, OLD)
    key = keyring.key("audit")
    (tmp_path / "given").write_text(f"{NEW.hex()}\n{OLD.hex()}")
    keyring.reopen()
    assert key == keyring.key("audit")
    assert key == Keyring.open(tmp_path / "state", MasterKeys([NEW])).key("audit")


def test_wrong_new_master_keys_leave_the_old_in_use(tmp_path: Path) -> None:
    """The error is told, and nothing stops."""
    keyring = lazy(tmp_path, OLD)
    key = keyring.key("audit")
    (tmp_path / "given").write_text(NEW.hex())
    with pytest.raises(WrongMasterKeyError):
        keyring.reopen()
    assert key == keyring.key("audit")
    assert 32 == len(keyring.key("api-keys"))


def test_master_keys_that_others_have_changed_are_read_again(tmp_path: Path) -> None:
    """When something is needed that is under the new one."""
    keyring = lazy(tmp_path, OLD)
    keyring.key("audit")
    other = lazy(tmp_path, NEW, OLD)
    made = other.key("api-keys")
    assert made == keyring.existing("api-keys")
    assert 32 == len(keyring.key("upstream-keys.1"))
    assert 3 == len(Keyring.open(tmp_path / "state", MasterKeys([NEW])).stored())
