"""Which keys are in use, of all sources together."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gemini_backend.errors import NoUpstreamKey
from gemini_backend.upstream.keys.known_key import KeySource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gemini_backend.call import UpstreamKey
    from gemini_backend.upstream.keys.known_key import KnownKey

# Removed keys whose texts are kept, for calls that were given one and have not sent it yet.
_MAX_REMOVED = 1000


class KeySet:
    """The keys of all sources, each once, in the order of the sources.

    A key that was removed is no longer listed, but its text is known for the calls that have it.
    The texts are masked by whoever has read them.
    """

    def __init__(self, configured: Iterable[KnownKey] = ()) -> None:
        """Begin with the keys of the configuration."""
        self._sources: dict[KeySource, tuple[KnownKey, ...]] = {}
        self._known: dict[str, KnownKey] = {}
        self._texts: dict[str, str] = {}
        self._removed: deque[str] = deque()
        self._listeners: list[Callable[[Sequence[UpstreamKey]], None]] = []
        self.put(KeySource.CONFIGURATION, configured)

    def __len__(self) -> int:
        """Return how many keys are in use."""
        return len(self._known)

    def __repr__(self) -> str:
        """Return the ids."""
        return f"KeySet({', '.join(self._known)})"

    @property
    def known(self) -> tuple[KnownKey, ...]:
        """The keys in use; a key of two sources is that of the first."""
        return tuple(self._known.values())

    @property
    def keys(self) -> tuple[UpstreamKey, ...]:
        """The keys in use, without their texts."""
        return tuple(one.key for one in self._known.values())

    def text(self, key: UpstreamKey) -> str:
        """Return a key's text, for the header of a request.

        Raises:
            NoUpstreamKey: it was removed, and a thousand others after it.
        """
        text = self._texts.get(key.key_id)
        if text is None:
            msg = f"the upstream key {key.key_id} was removed while a call waited; retry the call"
            raise NoUpstreamKey(msg)
        return text

    def subscribe(self, listener: Callable[[Sequence[UpstreamKey]], None]) -> None:
        """Tell `listener` the keys in use whenever they change."""
        self._listeners.append(listener)

    def put(self, source: KeySource, keys: Iterable[KnownKey]) -> tuple[set[str], set[str]]:
        """Take these keys as all that a source has; return the ids that came, and that went."""
        self._sources[source] = tuple(keys)
        known: dict[str, KnownKey] = {}
        for one in KeySource:
            for key in self._sources.get(one, ()):
                known.setdefault(key.key.key_id, key)
        before, self._known = self._known, known
        self._texts |= {key_id: one.text.reveal() for key_id, one in known.items()}
        self._removed.extend(before.keys() - known.keys())
        while len(self._removed) > _MAX_REMOVED:
            if (oldest := self._removed.popleft()) not in known:
                self._texts.pop(oldest, None)
        if [one.key for one in before.values()] != [one.key for one in known.values()]:
            for listener in self._listeners:
                listener(self.keys)
        return known.keys() - before.keys(), before.keys() - known.keys()
