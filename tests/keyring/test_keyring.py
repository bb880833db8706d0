"""The data keys, and the master keys that wrap them.

Covers: keyring/errors.py
"""

from __future__ import annotations

import json
import multiprocessing
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.disk import private_files as files
from gemini_backend.keyring import Keyring, MasterKeys
from gemini_backend.keyring.errors import DamagedKeyringError, KeyringError, WrongMasterKeyError

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = bytes(range(100, 132)), bytes(range(50, 82))


def opened(folder: Path, *masters: bytes) -> Keyring:
    """Return the keyring of a folder."""
    return Keyring.open(folder, MasterKeys(masters or [OLD]))


def content(folder: Path) -> dict[str, Any]:
    """Return what the file has."""
    found: dict[str, Any] = json.loads((folder / "keyring.json").read_text())
    return found


def test_nothing_is_written_before_a_key_is_needed(tmp_path: Path) -> None:
    """A keyring without keys has no file."""
    opened(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_key_is_stable(tmp_path: Path) -> None:
    """For ever, in every process; each purpose has its own."""
    first = opened(tmp_path)
    keys = [first.key(purpose) for purpose in ("api-keys", "audit")]
    assert keys == [opened(tmp_path).key(purpose) for purpose in ("api-keys", "audit")]
    assert (2, {32}) == (len(set(keys)), {len(key) for key in keys})


def test_the_file_has_no_key_in_the_clear(tmp_path: Path) -> None:
    """And only this user may read it."""
    key = opened(tmp_path).key("audit")
    data = (tmp_path / "keyring.json").read_bytes()
    assert not [form for form in (key, OLD, key.hex().encode(), OLD.hex().encode()) if form in data]
    assert (tmp_path / "keyring.json").stat().st_mode & 0o777 == 0o600


def test_a_key_that_another_process_made_is_found(tmp_path: Path) -> None:
    """Both were open before."""
    one, other = opened(tmp_path), opened(tmp_path)
    one.key("api-keys")
    assert one.key("audit") == other.key("audit")
    assert one.key("api-keys") == other.key("api-keys")


def _key(folder: Path, results: multiprocessing.Queue[bytes]) -> None:
    results.put(opened(folder).key("audit"))


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    """The first that writes it wins."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bytes] = context.Queue()
    all_of_them = [context.Process(target=_key, args=(tmp_path, results)) for _ in range(6)]
    for one in all_of_them:
        one.start()
    found = {results.get(timeout=30) for _ in all_of_them}
    for one in all_of_them:
        one.join()
    assert 1 == len(found)


def test_a_new_master_key_encrypts_everything_again(tmp_path: Path) -> None:
    """New and old together, then the new one alone: the keys are the same."""
    key = opened(tmp_path, OLD).key("audit")
    assert key == opened(tmp_path, NEW, OLD).key("audit")
    assert key == opened(tmp_path, NEW).key("audit")
    with pytest.raises(WrongMasterKeyError):
        opened(tmp_path, OLD)


def test_a_server_with_the_old_master_key_goes_on(tmp_path: Path) -> None:
    """It has its keys; it adds none that those with the new one alone could not read."""
    running = opened(tmp_path, OLD)
    key = running.key("audit")
    opened(tmp_path, NEW, OLD)
    assert key == running.key("audit")
    with pytest.raises(WrongMasterKeyError):
        running.key("api-keys")
    assert ["audit"] == opened(tmp_path, NEW).stored()


def test_a_wrong_master_key_changes_nothing(tmp_path: Path) -> None:
    """The error names the key that is missing, by its id, and what to do."""
    opened(tmp_path, OLD).key("audit")
    before = (tmp_path / "keyring.json").read_bytes()
    with pytest.raises(WrongMasterKeyError, match=r"secrets\.master_key") as refused:
        opened(tmp_path, NEW)
    assert MasterKeys([OLD]).current in str(refused.value)
    assert before == (tmp_path / "keyring.json").read_bytes()


def test_swapped_keys_are_found(tmp_path: Path) -> None:
    """Each is bound to its purpose."""
    keyring = opened(tmp_path)
    keyring.key("api-keys"), keyring.key("audit")
    found = content(tmp_path)
    keys = found["keys"]
    keys["audit"], keys["api-keys"] = keys["api-keys"], keys["audit"]
    (tmp_path / "keyring.json").write_text(json.dumps(found))
    with pytest.raises(DamagedKeyringError, match="restore it from a backup"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 1}',
        b'{"version": 1, "keys": {"audit": {"master": "x"}}}',
        b'{"version": 1, "keys": {"audit": {"master": "x", "sealed": "*"}}}',
        b'{"version": 1, "keys": {}, "more": 1}',
        b'{"version": 2, "keys": {}}',
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b"1" * 2_000_000,
    ],
)
def test_a_damaged_file_is_refused_and_stays(tmp_path: Path, damage: bytes) -> None:
    """Nothing is written over it, by opening or by a key that is needed."""
    keyring = opened(tmp_path)
    (tmp_path / "keyring.json").write_bytes(damage)
    with pytest.raises(DamagedKeyringError, match=r"keyring\.json in state\.dir"):
        opened(tmp_path)
    with pytest.raises(DamagedKeyringError):
        keyring.key("audit")
    assert damage == (tmp_path / "keyring.json").read_bytes()


def test_every_cut_of_the_file_is_found(tmp_path: Path) -> None:
    """A file that a crash or a copy has cut short is not taken for a shorter keyring."""
    opened(tmp_path).key("audit")
    whole = (tmp_path / "keyring.json").read_bytes().strip()
    for size in range(len(whole)):
        (tmp_path / "keyring.json").write_bytes(whole[:size])
        with pytest.raises(DamagedKeyringError):
            opened(tmp_path)


@pytest.mark.parametrize("masters", [[OLD], [NEW, OLD]])
def test_a_full_disk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masters: list[bytes]
) -> None:
    """A key is not handed out that was not stored, and the old file stays good."""
    keyring = opened(tmp_path)
    key = keyring.key("audit")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        with pytest.raises(KeyringError, match="No space left on device"):
            opened(tmp_path, *masters).key("api-keys")
    assert key == opened(tmp_path).key("audit")
    assert ["audit"] == opened(tmp_path).stored()


def test_a_lock_that_is_held_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a wait."""
    keyring = opened(tmp_path)
    monkeypatch.setattr(files, "_LOCK_WAIT_SECONDS", 0.0)
    with files.alone(tmp_path / "keyring.lock"), pytest.raises(KeyringError, match="retry"):
        keyring.key("audit")


def test_a_key_that_is_forgotten_is_made_anew(tmp_path: Path) -> None:
    """Others stay; forgetting what is not there does nothing."""
    keyring = opened(tmp_path)
    gone, stays = keyring.key("upstream-keys.1"), keyring.key("audit")
    keyring.forget(["upstream-keys.1", "unknown"])
    again = opened(tmp_path)
    assert (["audit"], stays) == (again.stored(), again.key("audit"))
    assert gone != keyring.key("upstream-keys.1")


def test_nothing_but_purposes_is_shown(tmp_path: Path) -> None:
    """And what is no purpose is refused."""
    keyring = opened(tmp_path)
    keyring.key("audit")
    assert "Keyring(audit)" == repr(keyring)
    for wrong in ("", "Audit", "../x", "a" * 65, "a b", "a\n"):
        with pytest.raises(ValueError, match="purpose"):
            keyring.key(wrong)
