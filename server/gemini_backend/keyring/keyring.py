"""The data keys: one for each purpose, kept encrypted by the master key."""

from __future__ import annotations

import re
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from gemini_backend.disk import private_files as files
from gemini_backend.keyring.errors import DamagedKeyringError, KeyringError, WrongMasterKeyError
from gemini_backend.keyring.master import LOCK
from gemini_backend.keyring.sealing import KEY_BYTES, SealError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gemini_backend.keyring.master import MasterKeys

FILE = "keyring.json"
_MAX_BYTES = 1024 * 1024
_VERSION: Final = 1
_PURPOSE = re.compile(r"[a-z][a-z0-9.-]{0,63}")


class DataKeys(Protocol):
    """Where keys are had from."""

    def key(self, purpose: str) -> bytes:
        """Return the key for a purpose, 32 bytes; see `Keyring.key`."""
        ...


class _Wrapped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data key as the file has it: which master key encrypted it, and nonce and ciphertext."""

    master: str
    sealed: bytes


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: dict[str, _Wrapped]


class Keyring:
    """The data keys of one state directory, which several processes may share.

    The file is read by `open`, and again where a key is not known yet; every write replaces it as a
    whole. Methods block, and any thread may call them. A key is never shown.
    """

    def __init__(self, directory: Path, masters: MasterKeys) -> None:
        """Know no key yet; `open` is what reads the file."""
        self._file = directory / FILE
        self._lock = directory / LOCK
        self._masters = masters
        self._keys: dict[str, bytes] = {}
        self._here = threading.Lock()

    @classmethod
    def open(cls, directory: Path, masters: MasterKeys) -> Keyring:
        """Return the keyring of a directory; what another master key encrypted is encrypted again.

        Raises:
            WrongMasterKeyError: a key is under a master key that is not given; nothing has changed.
            DamagedKeyringError: the file is none, or was changed; so it stays.
            KeyringError: it cannot be read or written.
        """
        keyring = cls(directory, masters)
        wrapped = keyring._read()
        keyring._keys = keyring._opened(wrapped)
        if any(one.master != masters.current for one in wrapped.values()):
            keyring._wrap_again()
        return keyring

    def key(self, purpose: str) -> bytes:
        """Return the key for a purpose, 32 bytes; it is made and stored at the first use.

        Args:
            purpose: At most 64 lower-case letters, digits, `.` and `-`.

        Raises:
            WrongMasterKeyError: a key in the file is under a master key that is not given.
            KeyringError: the file cannot be read or written.
        """
        with self._here:
            known = self._keys.get(purpose)
            return known if known is not None else self._found_or_made(purpose)

    def existing(self, purpose: str) -> bytes:
        """Return the key that something was encrypted with; none is made.

        Raises:
            DamagedKeyringError: there is none.
            KeyringError: the file cannot be read, or its master key is not given.
        """
        with self._here:
            if purpose not in self._keys:
                wrapped = self._read()
                if purpose not in wrapped:
                    msg = (
                        f"{FILE} in state.dir has no key for {purpose[:64]!r}, which is in use; "
                        "restore it from a backup"
                    )
                    raise DamagedKeyringError(msg)
                self._keys[purpose] = self._unwrapped(purpose, wrapped[purpose])
            return self._keys[purpose]

    def stored(self) -> list[str]:
        """Return the purposes that the file has now; keys that others removed are forgotten.

        Raises:
            KeyringError: the file cannot be read.
        """
        with self._here:
            wrapped = self._read()
            self._keys = {name: key for name, key in self._keys.items() if name in wrapped}
            return sorted(wrapped)

    def forget(self, purposes: list[str]) -> None:
        """Remove keys for good: what is encrypted with them cannot be read again.

        Raises:
            KeyringError: the file cannot be read or written.
        """
        with self._here, self._alone():
            wrapped = self._read()
            left = {name: one for name, one in wrapped.items() if name not in purposes}
            if left != wrapped:
                self._write(left)
            self._keys = {name: key for name, key in self._keys.items() if name not in purposes}

    def __repr__(self) -> str:
        """Return the purposes."""
        return f"Keyring({', '.join(self._keys)})"

    def _found_or_made(self, purpose: str) -> bytes:
        if not _PURPOSE.fullmatch(purpose):
            msg = f"{purpose!r} is not a purpose"
            raise ValueError(msg)
        with self._alone():
            wrapped = self._read()
            if purpose in wrapped:
                key = self._unwrapped(purpose, wrapped[purpose])
            else:
                self._opened(wrapped)  # or the file would be under two master keys, of two servers
                key = secrets.token_bytes(KEY_BYTES)
                self._write({**wrapped, **self._wrapped({purpose: key})})
        self._keys[purpose] = key
        return key

    def _wrap_again(self) -> None:
        with self._alone():
            self._keys = self._opened(self._read())  # another process may have come first
            self._write(self._wrapped(self._keys))

    def _opened(self, wrapped: Mapping[str, _Wrapped]) -> dict[str, bytes]:
        return {purpose: self._unwrapped(purpose, one) for purpose, one in wrapped.items()}

    def _unwrapped(self, purpose: str, one: _Wrapped) -> bytes:
        sealer = self._masters.sealers.get(one.master)
        if sealer is None:
            msg = (
                f"{FILE} in state.dir was encrypted with the master key {one.master[:16]!r}, which "
                "is not configured; add that key to secrets.master_key or its file, or move "
                f"{FILE} away, which makes all that is encrypted unreadable"
            )
            raise WrongMasterKeyError(msg)
        try:
            key = sealer.open(one.sealed, _bound_to(purpose))
        except SealError as error:
            msg = f"{FILE} in state.dir: the key for {purpose} {error}; restore it from a backup"
            raise DamagedKeyringError(msg) from None
        return key

    def _wrapped(self, keys: Mapping[str, bytes]) -> dict[str, _Wrapped]:
        current = self._masters.current
        sealer = self._masters.sealers[current]
        return {
            purpose: _Wrapped(current, sealer.seal(key, _bound_to(purpose)))
            for purpose, key in keys.items()
        }

    def _read(self) -> dict[str, _Wrapped]:
        try:
            found = files.read(self._file, _MAX_BYTES)
            content = msgspec.json.decode(found.data, type=_Content)
        except FileNotFoundError:
            return {}
        except (files.UnusableFileError, msgspec.DecodeError, RecursionError):
            msg = f"{FILE} in state.dir is damaged, or not a keyring; restore it from a backup"
            raise DamagedKeyringError(msg) from None
        except OSError as error:
            raise _failed("read", error) from None
        if content.version != _VERSION:
            msg = (
                f"{FILE} in state.dir has version {content.version}, which this version of the "
                "server does not know; run the version that wrote it"
            )
            raise DamagedKeyringError(msg)
        return content.keys

    def _write(self, wrapped: Mapping[str, _Wrapped]) -> None:
        data = msgspec.json.encode(_Content(_VERSION, dict(wrapped)))
        try:
            files.replace(self._file, msgspec.json.format(data, indent=1) + b"\n")
        except OSError as error:
            raise _failed("written", error) from None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            with files.alone(self._lock):
                yield
        except TimeoutError:
            msg = f"another process uses {LOCK} in state.dir; end it, or retry"
            raise KeyringError(msg) from None
        except OSError as error:
            raise _failed("locked", error) from None


def _bound_to(purpose: str) -> str:
    return f"gemini-backend data key 1\n{purpose}"


def _failed(did: str, error: OSError) -> KeyringError:
    return KeyringError(
        f"{FILE} in state.dir cannot be {did} ({error.strerror}); give the user of this server "
        "write permission there, or free some space"
    )
