"""The keyring of a server, opened when something needs it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.keyring.errors import WrongMasterKeyError
from gemini_backend.keyring.keyring import FILE, Keyring
from gemini_backend.keyring.master import master_keys

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config.sections.auth import SecretsOptions


class LazyKeyring:
    """Opens the keyring at its first use; a server that keeps no secret makes no file.

    Methods block, and any thread may call them. A failure to open is raised each time, until the
    keyring can be opened.
    """

    def __init__(self, directory: str, options: SecretsOptions) -> None:
        """Open nothing yet.

        Args:
            directory: `state.dir`.
            options: Where the master keys are.
        """
        self._directory = Path(directory).expanduser()
        self._options = options
        self._opened: Keyring | None = None
        self._lock = threading.Lock()

    @property
    def directory(self) -> Path:
        """The state directory."""
        return self._directory

    def key(self, purpose: str) -> bytes:
        """Return the key for a purpose, 32 bytes; see `Keyring.key`.

        Raises:
            KeyringError: the keyring or its master key cannot be used.
        """
        return self._asked(lambda keyring: keyring.key(purpose))

    def existing(self, purpose: str) -> bytes:
        """Return a key that was made before; see `Keyring.existing`.

        Raises:
            KeyringError: there is none, or the keyring or its master key cannot be used.
        """
        return self._asked(lambda keyring: keyring.existing(purpose))

    def opened(self) -> Keyring:
        """Return the keyring, opened.

        Raises:
            KeyringError: the keyring or its master key cannot be used.
        """
        with self._lock:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def reopen(self) -> None:
        """Read the master keys again, and encrypt all data keys with the first of them.

        Without a keyring none is made. On failure the one that was open stays in use.

        Raises:
            KeyringError: the keyring or its master key cannot be used.
        """
        with self._lock:
            if self._opened is not None or (self._directory / FILE).exists():
                self._opened = self._open()

    def _asked(self, ask: Callable[[Keyring], bytes]) -> bytes:
        """Ask the keyring; once more with new master keys if others have changed them."""
        try:
            return ask(self.opened())
        except WrongMasterKeyError:
            self.reopen()
            return ask(self.opened())

    def _open(self) -> Keyring:
        # a new master key would not open what the one that is missing has encrypted
        create = not (self._directory / FILE).exists()
        masters = master_keys(self._options, self._directory, create=create)
        return Keyring.open(self._directory, masters)
