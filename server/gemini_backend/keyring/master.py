"""The master keys: from the configuration, from a file, or made at random."""

from __future__ import annotations

import logging
import secrets
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend import masking
from gemini_backend.config.master_key import HOW_TO_MAKE, master_key_bytes
from gemini_backend.config.secret_text import cleaned
from gemini_backend.disk import private_files as files
from gemini_backend.keyring.errors import MasterKeyError
from gemini_backend.keyring.sealing import KEY_BYTES, Sealer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemini_backend.config.sections.auth import SecretsOptions

FILE = "master.key"
LOCK = "keyring.lock"
_MAX_FILE_BYTES = 64 * 1024
_ID_DIGITS = 16

_log = logging.getLogger(__name__)


class MasterKeys:
    """Several keys: the first encrypts, all decrypt. They are shown by their ids only."""

    __slots__ = ("_sealers",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Use keys of 32 bytes each, at least one.

        Raises:
            MasterKeyError: there is none.
        """
        if not keys:
            msg = f"there is no master key; {HOW_TO_MAKE}"
            raise MasterKeyError(msg)
        self._sealers = {_id_of(key): Sealer(key) for key in keys}

    @property
    def current(self) -> str:
        """Id of the key that encrypts."""
        return next(iter(self._sealers))

    @property
    def sealers(self) -> Mapping[str, Sealer]:
        """All keys by their ids, 16 hexadecimal digits of a digest."""
        return self._sealers

    def __repr__(self) -> str:
        """Return the ids."""
        return f"MasterKeys({', '.join(self._sealers)})"


def master_keys(options: SecretsOptions, directory: Path, *, create: bool = True) -> MasterKeys:
    """Return the configured master keys, or those of `master.key` in the state directory.

    That file is made, with a random key, where it is missing and `create` is set; one that is
    configured is not. A file that others may write is refused, as is `master.key` if others may
    read it. One of an operator's own that others may read is used with a warning, since containers
    mount secrets so. Blocks.

    Raises:
        MasterKeyError: there is none that can be used.
    """
    if options.master_key:
        return _parsed([key.reveal() for key in options.master_key], "secrets.master_key")
    if options.master_key_file:
        return _from_file(Path(options.master_key_file).expanduser(), own=False)
    file = directory / FILE
    if create and not file.exists():
        _create(file)
    return _from_file(file, own=True)


def _create(file: Path) -> None:
    text = b64encode(secrets.token_bytes(KEY_BYTES)).decode()
    masking.remember([text])
    try:
        with files.alone(file.with_name(LOCK)):
            created = files.create(file, f"{text}\n".encode())
    except OSError as error:
        why = error.strerror or "another process has locked it"
        msg = (
            f"{FILE} cannot be written in state.dir ({why}); give the user of this server write "
            "permission there, free some space, or set secrets.master_key_file"
        )
        raise MasterKeyError(msg) from None
    if created:
        _log.debug("master_key_created", extra={"file": str(file)})


def _from_file(file: Path, *, own: bool) -> MasterKeys:
    name = f"{FILE} in state.dir" if own else "secrets.master_key_file"
    try:
        found = files.read(file, _MAX_FILE_BYTES)
    except FileNotFoundError:
        what = "restore it from a backup" if own else f"set it to a file with keys: {HOW_TO_MAKE}"
        msg = f"{name} does not exist; {what}"
        raise MasterKeyError(msg) from None
    except OSError as error:
        msg = (
            f"{name} cannot be read ({error.strerror}); make it readable for the user of this "
            "server"
        )
        raise MasterKeyError(msg) from None
    except files.UnusableFileError as error:
        msg = f"{name} {error}"
        raise MasterKeyError(msg) from None
    if found.others_write or (own and found.others_read):
        does = "write" if found.others_write else "read"
        msg = f"others may {does} {name}; run `chmod 600` on it, and replace the key if they did"
        raise MasterKeyError(msg)
    if found.others_read:
        said = "others may read the file; run `chmod 600` on it"
        _log.warning("secret_file", extra={"setting": name, "reason": said})
    lines = (cleaned(line) for line in found.data.decode(errors="replace").splitlines())
    return _parsed([line for line in lines if line and not line.startswith("#")], name)


def _parsed(texts: Sequence[str], name: str) -> MasterKeys:
    masking.remember(texts)
    keys = []
    for number, text in enumerate(texts, 1):
        try:
            keys.append(master_key_bytes(text))
        except ValueError as error:
            msg = f"{name}: key {number} {error}"
            raise MasterKeyError(msg) from None
    if not keys:
        msg = f"{name} holds no key; {HOW_TO_MAKE}"
        raise MasterKeyError(msg)
    masking.remember([b64encode(key).decode() for key in keys])
    masking.remember([key.hex() for key in keys])
    return MasterKeys(keys)


def _id_of(key: bytes) -> str:
    return sha256(b"gemini-backend master key\0" + key).hexdigest()[:_ID_DIGITS]
