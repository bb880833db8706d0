"""Where master keys come from."""

from __future__ import annotations

import multiprocessing
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from gemini_backend import masking
from gemini_backend.config.secret import Secret
from gemini_backend.config.sections.auth import SecretsOptions
from gemini_backend.disk import private_files as files
from gemini_backend.keyring import MasterKeys, master_keys
from gemini_backend.keyring.errors import KeyringError, MasterKeyError

if TYPE_CHECKING:
    from pathlib import Path

FIRST, SECOND = bytes(range(100, 132)), bytes(range(50, 82))
NONE = SecretsOptions()


def file_with(folder: Path, text: str, mode: int = 0o600) -> SecretsOptions:
    """Return options that name a file with such a text."""
    file = folder / "given"
    file.write_text(text)
    file.chmod(mode)
    return SecretsOptions(master_key_file=str(file))


def test_keys_of_the_configuration(tmp_path: Path) -> None:
    """The first encrypts, all decrypt; nothing is written."""
    options = SecretsOptions(master_key=(Secret(FIRST.hex()), Secret(b64encode(SECOND).decode())))
    masters = master_keys(options, tmp_path)
    both = MasterKeys([FIRST, SECOND])
    assert (both.current, list(both.sealers)) == (masters.current, list(masters.sealers))
    assert [] == list(tmp_path.iterdir())


def test_keys_of_a_file(tmp_path: Path) -> None:
    """One per line; comments, blank lines, quotes and a byte order mark are no part of a key."""
    text = f'\ufeff# made in May\n\n"{FIRST.hex()}"\r\n  {SECOND.hex()}  \n'
    masters = master_keys(file_with(tmp_path, text), tmp_path)
    assert list(MasterKeys([FIRST, SECOND]).sealers) == list(masters.sealers)


def test_a_key_is_made_at_the_first_use(tmp_path: Path) -> None:
    """In the state directory, for this user only, and it stays."""
    made = master_keys(NONE, tmp_path / "state")
    file = tmp_path / "state" / "master.key"
    assert (0o600, made.current) == (
        file.stat().st_mode & 0o777,
        master_keys(NONE, tmp_path / "state").current,
    )
    assert "[key]" == masking.text(file.read_text().strip())


def test_no_key_is_made_in_the_place_of_a_lost_one(tmp_path: Path) -> None:
    """With a keyring that another key has encrypted, a new one would be of no use."""
    with pytest.raises(MasterKeyError, match="restore it from a backup"):
        master_keys(NONE, tmp_path, create=False)
    assert [] == list(tmp_path.iterdir())


def _current(folder: Path, results: multiprocessing.Queue[str]) -> None:
    results.put(master_keys(NONE, folder).current)


def test_processes_that_start_together_have_one_key(tmp_path: Path) -> None:
    """The first that writes it wins."""
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[str] = context.Queue()
    all_of_them = [context.Process(target=_current, args=(tmp_path, results)) for _ in range(6)]
    for one in all_of_them:
        one.start()
    found = {results.get(timeout=30) for _ in all_of_them}
    for one in all_of_them:
        one.join()
    assert 1 == len(found)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_of_ones_own_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """The error says what to run."""
    master_keys(NONE, tmp_path)
    (tmp_path / "master.key").chmod(mode)
    with pytest.raises(MasterKeyError, match="chmod 600"):
        master_keys(NONE, tmp_path)


def test_a_mounted_key_that_others_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Containers mount secrets so; one that others may write is refused."""
    master_keys(file_with(tmp_path, FIRST.hex(), 0o444), tmp_path)
    assert ["secret_file"] == [record.message for record in caplog.records]
    with pytest.raises(MasterKeyError, match="others may write"):
        master_keys(file_with(tmp_path, FIRST.hex(), 0o620), tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no key"),
        ("# nothing\n", "holds no key"),
        (f"{FIRST.hex()}\nnonsense-9Key\n", "key 2 is not 32 bytes"),
        ("\0" * 64, "key 1 is not 32 bytes"),
        ("00" * 32, "not a random key"),
        ("x" * 70_000, "larger than"),
    ],
)
def test_a_file_without_a_key_is_refused(tmp_path: Path, text: str, says: str) -> None:
    """The error names the setting, and never what is in the file."""
    with pytest.raises(MasterKeyError, match=says) as refused:
        master_keys(file_with(tmp_path, text), tmp_path)
    assert "secrets.master_key_file" in str(refused.value)
    assert "9Key" not in str(refused.value)


def test_a_configured_file_is_not_made(tmp_path: Path) -> None:
    """A mount that is missing is an error, not a reason for a new key."""
    with pytest.raises(MasterKeyError, match="does not exist"):
        master_keys(SecretsOptions(master_key_file=str(tmp_path / "none")), tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and nothing is left there."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(KeyringError, match="No space left on device"):
        master_keys(NONE, tmp_path)
    assert ["keyring.lock"] == [one.name for one in tmp_path.iterdir()]


def test_keys_are_never_shown(tmp_path: Path) -> None:
    """Not by `repr`, and masked in whatever encoding they are shown elsewhere."""
    masters = master_keys(file_with(tmp_path, FIRST.hex()), tmp_path)
    assert f"MasterKeys({masters.current})" == repr(masters)
    assert ["[key]"] * 2 == [masking.text(one) for one in (FIRST.hex(), b64encode(FIRST).decode())]


def test_there_is_always_a_key() -> None:
    """None at all is an error."""
    with pytest.raises(MasterKeyError):
        MasterKeys([])
