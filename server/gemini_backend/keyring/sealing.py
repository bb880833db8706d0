"""Bytes under a key: AES-256-GCM, bound to what they are for."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class SealError(Exception):
    """What was to be opened was changed, is for another purpose, or is under another key."""

    def __init__(self) -> None:
        """Say no more than that: which of these it is cannot be known."""
        super().__init__("cannot be decrypted: changed, moved, or encrypted with another key")


class Sealer:
    """Seals and opens with one key.

    A nonce is 12 bytes at random: one key is good for 2^32 seals.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        """Use a key of 32 bytes."""
        if len(key) != KEY_BYTES:
            msg = f"a key has {KEY_BYTES} bytes"
            raise ValueError(msg)
        self._cipher = AESGCM(key)

    def seal(self, data: bytes, bound_to: str) -> bytes:
        """Return the data encrypted: nonce, ciphertext, tag.

        Only `open` with the same `bound_to` returns it.
        """
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> bytes:
        """Return what was sealed.

        Raises:
            SealError: it is not that, or was bound to something else.
        """
        try:
            return self._cipher.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode()
            )
        except (InvalidTag, ValueError):
            raise SealError from None
