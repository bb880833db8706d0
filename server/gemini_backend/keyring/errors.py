"""Why the keyring cannot be used.

KeyringError            the file or its folder cannot be read or written
├─ MasterKeyError       there is no master key that can be used
├─ WrongMasterKeyError  the master keys are not those that the file was encrypted with
└─ DamagedKeyringError  the file is none, or was changed

Each is a StoreUnavailable: the message names the fix, and holds no key.
"""

from __future__ import annotations

from gemini_backend.errors import StoreUnavailable


class KeyringError(StoreUnavailable):
    """The keyring cannot be used."""


class MasterKeyError(KeyringError):
    """There is no master key that can be used."""


class WrongMasterKeyError(KeyringError):
    """The file was encrypted with another master key."""


class DamagedKeyringError(KeyringError):
    """The file is no keyring, or was changed."""
