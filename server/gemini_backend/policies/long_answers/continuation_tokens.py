"""Continuation tokens: which key's project gave them, so that the same one is asked with them."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from cachetools import LRUCache

from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from gemini_backend.call import Call

MAX_TOKEN_BYTES = MIB
"""Longer ones are not followed: a request of the contract could not hold them either."""
# Beyond so many the token not seen for longest is forgotten: it then goes out with any key.
_REMEMBERED = 10_000


def digest_of(token: bytes) -> bytes:
    """Return what a token is known again by: 16 bytes."""
    return sha256(token).digest()[:16]


class TokenKeys:
    """Remembers, by their digests, with which key the tokens came that callers were given."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        """Know none."""
        self._keys: LRUCache[bytes, str] = LRUCache(_REMEMBERED)

    def learn(self, token: bytes, key_id: str) -> None:
        """Remember a token that a caller is given; nothing where there is no token or key."""
        if token and key_id:
            self._keys[digest_of(token)] = key_id

    def key_of(self, token: bytes) -> str:
        """Return the id of the key that a token came with; empty where that is not known."""
        return self._keys.get(digest_of(token), "") if token else ""


def key_of_answer(call: Call) -> str:
    """Return the id of the key of the latest attempt that gave a whole answer; empty for none."""
    for attempt in reversed(call.outcome.attempts):
        if attempt.ended is not None and attempt.error is None and not attempt.cancelled:
            return attempt.key_id
    return ""
