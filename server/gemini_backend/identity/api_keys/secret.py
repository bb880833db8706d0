"""Secrets of API keys: `gbk_ID_RANDOM`, and the keyed hash that is kept of one.

`ID` is public and finds the key. `RANDOM` has 256 bits, so that a fast hash is enough: nobody can
try all of them. The hash is keyed, and of the whole secret: whoever reads the store can neither
make a secret for it nor present what is in it, and the random part of one key with the id of
another is a different secret.
"""

from __future__ import annotations

import hmac
import secrets
import string
from typing import Final

from gemini_backend.identity.credentials import KEY_PREFIX

_LETTERS: Final = string.ascii_letters + string.digits  # a double click selects all of it
_ID_LENGTH: Final = 12
_RANDOM_LENGTH: Final = 43  # 62 ** 43 is just above 2 ** 256
_ID: Final = slice(len(KEY_PREFIX), len(KEY_PREFIX) + _ID_LENGTH)
SECRET_LENGTH: Final = _ID.stop + 1 + _RANDOM_LENGTH
HASH_BYTES: Final = 32


def new_id() -> str:
    """Return a random id: 12 letters and digits."""
    return _random(_ID_LENGTH)


def new_secret(key: str) -> str:
    """Return a random secret of the key with this id."""
    return f"{KEY_PREFIX}{key}_{_random(_RANDOM_LENGTH)}"


def id_in(secret: str) -> str | None:
    """Return the id of the key that a secret claims to be of; None if it is no secret of ours."""
    if (
        len(secret) != SECRET_LENGTH
        or not secret.startswith(KEY_PREFIX)
        or secret[_ID.stop] != "_"
        or not secret.isascii()
    ):
        return None
    return secret[_ID]


class Hasher:
    """Makes the hashes: HMAC-SHA256 of whole secrets."""

    __slots__ = ("_fresh",)

    def __init__(self, key: bytes) -> None:
        """Hash by a key of 32 bytes, which is kept apart from the hashes."""
        self._fresh = hmac.new(key, digestmod="sha256")

    def of(self, secret: str) -> bytes:
        """Return the hash of a secret in ASCII: 32 bytes."""
        made = self._fresh.copy()  # with the key in it already
        made.update(secret.encode("ascii"))
        return made.digest()

    def __repr__(self) -> str:
        """Show nothing of the key."""
        return "Hasher()"


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
