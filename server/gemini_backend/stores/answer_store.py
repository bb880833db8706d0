"""What the layers ask of a store of answers."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class StoredAnswer(NamedTuple):
    """A whole answer, ready to be sent again. Times are seconds on the store's clock.

    `events` are serialised `ExecuteResponse`s: `started`, as few deltas as lose nothing,
    `completed`. Up to `fresh_until` it is as good as new; up to `kept_until` it will do where
    the model fails.
    """

    events: tuple[bytes, ...]
    stored: float
    fresh_until: float
    kept_until: float


class AnswerStore(Protocol):
    """Keeps answers by the digest of what was asked."""

    def at_hand(self, key: bytes) -> StoredAnswer | None:
        """Return the answer under a key where that needs no wait; None where nobody knows yet."""
        ...

    async def get(self, key: bytes) -> StoredAnswer | None:
        """Return the answer under a key, fresh or past its time; None where there is none."""
        ...

    async def put(self, key: bytes, answer: StoredAnswer) -> bool:
        """Keep an answer in place of what the key had; tell whether there was room for it."""
        ...
