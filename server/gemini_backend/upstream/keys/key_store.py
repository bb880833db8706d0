"""Keys in a file of this server's own, each encrypted by a data key of the keyring."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gemini_backend import masking
from gemini_backend.config import Secret
from gemini_backend.disk.private_files import UnusableFileError, alone
from gemini_backend.disk.private_files import read as read_private
from gemini_backend.disk.private_files import replace as replace_private
from gemini_backend.errors import AlreadyExists, InvalidRequest, StoreUnavailable, UnknownResource
from gemini_backend.keyring import Sealer, SealError
from gemini_backend.upstream.keys.key_lines import MAX_KEYS
from gemini_backend.upstream.keys.known_key import KeySource, KnownKey, key_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.keyring import LazyKeyring

FILE = "upstream_keys.json"
_LOCK = "upstream_keys.lock"
_NAME = f"{FILE} in state.dir"
_MAX_BYTES = 16 * 1024 * 1024
_VERSION: Final = 1
_FAMILY = "upstream-keys."
_PURPOSE = re.compile(r"upstream-keys\.([1-9][0-9]{0,8})")


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key as the file has it; `data_key` is the purpose of what encrypted it."""

    id: str
    project: str
    display_name: str
    created: float
    data_key: str
    sealed: bytes

    @property
    def bound_to(self) -> str:
        """All that stands beside the key, so that none of it can be changed, or moved to it."""
        facts = ["upstream key 1", self.id, self.project, self.display_name, self.created]
        return msgspec.json.encode(facts).decode()


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: list[_Row]


def has_stored_keys(directory: str) -> bool:
    """Say whether a state directory has stored keys, without the keyring.

    A file that cannot be read counts as one that has some: it is told of when it is used.
    """
    try:
        return bool(_read(Path(directory).expanduser() / FILE))
    except StoreUnavailable:
        return True


class KeyStore:
    """The encrypted store; several processes may share it. Methods block.

    A change replaces the file as a whole: a crash leaves the old file or the new one.
    """

    def __init__(self, keyring: LazyKeyring) -> None:
        """Open nothing yet."""
        self._keyring = keyring
        self._file = keyring.directory / FILE
        self._lock = keyring.directory / _LOCK

    def data(self) -> bytes:
        """Return the file as it is, encrypted, to see whether it has changed; empty for none.

        Raises:
            StoreUnavailable: it cannot be read.
        """
        return _data(self._file)

    def read(self) -> list[KnownKey]:
        """Return the stored keys, in the order in which they were added.

        Raises:
            StoreUnavailable: the file or the keyring cannot be read, or was changed by others.
        """
        if not self._file.exists():
            return []
        with self._alone():
            keys = [self._opened(row) for row in _read(self._file)]
        masking.remember([one.text.reveal() for one in keys])
        return keys

    def add(self, text: Secret, project: str, display_name: str, now: float) -> KnownKey:
        """Store a key.

        Args:
            text: The key.
            project: Whose quota it shares; empty for one of its own.
            display_name: What it is for, in words.
            now: Time of day, seconds since the epoch.

        Raises:
            AlreadyExists: it is stored already.
            InvalidRequest: there are 1,000 keys.
            StoreUnavailable: the file or the keyring cannot be read or written.
        """
        masking.remember([text.reveal()])
        made = KnownKey(text, KeySource.STORE, project, now, display_name)
        with self._alone():
            rows = _read(self._file)
            if any(row.id == made.key.key_id for row in rows):
                msg = f"the key {made.key.key_id} is stored already; remove it first to change it"
                raise AlreadyExists(msg)
            if len(rows) >= MAX_KEYS:
                msg = f"there are {MAX_KEYS} stored keys, and there may be no more; remove some"
                raise InvalidRequest(msg)
            purposes = [row.data_key for row in rows] or self._purposes()
            purpose = max(purposes, key=_number, default=f"{_FAMILY}1")
            self._write([*rows, self._sealed(made, purpose)])
        return made

    def remove(self, key_id: str) -> None:
        """Remove a key.

        Raises:
            UnknownResource: there is none of that id.
            StoreUnavailable: the file cannot be read or written.
        """
        with self._alone():
            rows = _read(self._file)
            left = [row for row in rows if row.id != key_id]
            if len(left) == len(rows):
                msg = f"there is no stored key {key_id}; see `gemini-backend upstream-keys list`"
                raise UnknownResource(msg)
            self._write(left)

    def rotate(self) -> int:
        """Encrypt all keys with a new data key; return how many there are.

        The new data key is stored before, the old ones are removed after the file is replaced: in
        between the file is readable with what the keyring has.

        Raises:
            StoreUnavailable: the file or the keyring cannot be read or written, or was changed.
        """
        if not self._file.exists():
            return 0
        with self._alone():
            keys = [self._opened(row) for row in _read(self._file)]
            old = self._purposes()
            purpose = f"{_FAMILY}{max(map(_number, old), default=0) + 1}"
            self._write([self._sealed(key, purpose) for key in keys])
            self._keyring.opened().forget(old)
        return len(keys)

    def _purposes(self) -> list[str]:
        """Return the data keys that the keyring has now, whatever other processes have done."""
        return [one for one in self._keyring.opened().stored() if _PURPOSE.fullmatch(one)]

    def _sealed(self, key: KnownKey, purpose: str) -> _Row:
        row = _Row(key.key.key_id, key.project, key.display_name, key.created or 0.0, purpose, b"")
        sealer = Sealer(self._keyring.key(purpose))
        sealed = sealer.seal(key.text.reveal().encode(), row.bound_to)
        return msgspec.structs.replace(row, sealed=sealed)

    def _opened(self, row: _Row) -> KnownKey:
        sealer = Sealer(self._keyring.existing(row.data_key))
        try:
            text = sealer.open(row.sealed, row.bound_to).decode()
        except (SealError, UnicodeDecodeError):
            text = ""
        if key_id_of(text) != row.id:
            msg = (
                f"{_NAME}: the key {row.id[:64]!r} was changed or moved by others; restore the "
                "file from a backup, or move it away and add the keys again"
            )
            raise StoreUnavailable(msg)
        return KnownKey(Secret(text), KeySource.STORE, row.project, row.created, row.display_name)

    def _write(self, rows: list[_Row]) -> None:
        data = msgspec.json.encode(_Content(_VERSION, rows))
        try:
            replace_private(self._file, msgspec.json.format(data, indent=1) + b"\n")
        except OSError as error:
            raise _failed("written", error) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with alone(self._lock):
                yield
        except TimeoutError:
            msg = f"another process uses {_LOCK} in state.dir; end it, or retry"
            raise StoreUnavailable(msg) from None
        except OSError as error:
            raise _failed("locked", error) from None


def _number(purpose: str) -> int:
    found = _PURPOSE.fullmatch(purpose)
    return int(found[1]) if found else 0


def _data(file: Path) -> bytes:
    try:
        return read_private(file, _MAX_BYTES).data
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except UnusableFileError as error:
        msg = f"{_NAME} {error}"
        raise StoreUnavailable(msg) from None
    except OSError as error:
        raise _failed("read", error) from None


def _read(file: Path) -> list[_Row]:
    data = _data(file)
    if not data and not file.exists():
        return []
    try:
        content = msgspec.json.decode(data, type=_Content)
    except (msgspec.DecodeError, RecursionError):
        msg = (
            f"{_NAME} is damaged, or not what this server writes; restore it from a backup, or "
            "move it away and add the keys again"
        )
        raise StoreUnavailable(msg) from None
    if content.version != _VERSION or not all(_number(row.data_key) for row in content.keys):
        msg = f"{_NAME} was written by another version of this server; run that version"
        raise StoreUnavailable(msg)
    return content.keys


def _failed(did: str, error: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"{_NAME} cannot be {did} ({error.strerror}); give the user of this server write "
        "permission there, or free some space"
    )
