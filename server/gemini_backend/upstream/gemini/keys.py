"""The configured keys, and how they are used by a client without a chain before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config import Secret
from gemini_backend.errors import NoUpstreamKey
from gemini_backend.upstream.keys import KeySource, KnownKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.call import UpstreamKey
    from gemini_backend.errors import ServiceError
    from gemini_backend.upstream.keys import KeySet


def known_keys(api_keys: Sequence[str], projects: Sequence[str] = ()) -> list[KnownKey]:
    """Return the keys in their order; one without a project of a name stands for its own."""
    names = projects or [""] * len(api_keys)
    return [
        KnownKey(Secret(text), KeySource.CONFIGURATION, name)
        for text, name in zip(api_keys, names, strict=True)
    ]


class KeysInTurn:
    """The keys of a client that works by itself: each is taken in its turn, however it fares."""

    def __init__(self, keys: KeySet) -> None:
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
        keys = self._keys.keys
        if not keys:
            raise NoUpstreamKey("there is no key for the model API; set GEMINI_API_KEY")
        return keys[self._taken % len(keys)]

    def give_back(self, _key: UpstreamKey) -> None:
        """Count nothing."""

    def note(self, _key: UpstreamKey, _model: str, _error: ServiceError | None) -> None:
        """Note nothing."""
