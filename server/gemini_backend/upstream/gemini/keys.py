"""The configured keys, as the rest of the server knows them: by a digest, never by their text."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from gemini_backend.call import UpstreamKey
from gemini_backend.errors import NoUpstreamKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.errors import ServiceError

_ID_DIGITS = 8


def keys_of(api_keys: Sequence[str], projects: Sequence[str] = ()) -> tuple[UpstreamKey, ...]:
    """Return the keys in their order; one without a project of a name stands for its own."""
    keys = []
    for index, text in enumerate(api_keys):
        key_id = sha256(text.encode()).hexdigest()[:_ID_DIGITS]
        keys.append(UpstreamKey(index, key_id, projects[index] if projects else key_id))
    return tuple(keys)


class KeysInTurn:
    """The keys of a client that works by itself: each is taken in its turn, however it fares."""

    def __init__(self, keys: Sequence[UpstreamKey]) -> None:
        """Begin with the first."""
        self._keys = keys
        self._taken = 0

    def take(self, _model: str) -> UpstreamKey:
        """Return the next key.

        Raises:
            NoUpstreamKey: there is none.
        """
        key = self.peek()
        self._taken += 1
        return key

    def peek(self) -> UpstreamKey:
        """Return the key that is next, and leave it so.

        Raises:
            NoUpstreamKey: there is none.
        """
        if not self._keys:
            raise NoUpstreamKey("there is no key for the model API; set GEMINI_API_KEY")
        return self._keys[self._taken % len(self._keys)]

    def give_back(self, _key: UpstreamKey) -> None:
        """Count nothing."""

    def note(self, _key: UpstreamKey, _model: str, _error: ServiceError | None) -> None:
        """Note nothing."""
