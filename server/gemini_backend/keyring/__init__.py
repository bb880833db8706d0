"""Encryption of what is kept secret on disk: master keys, and the data keys that they wrap."""

from __future__ import annotations

from gemini_backend.keyring.keyring import DataKeys, Keyring
from gemini_backend.keyring.lazy import LazyKeyring
from gemini_backend.keyring.master import MasterKeys, master_keys
from gemini_backend.keyring.sealing import Sealer, SealError

__all__ = [
    "DataKeys",
    "Keyring",
    "LazyKeyring",
    "MasterKeys",
    "SealError",
    "Sealer",
    "master_keys",
]
