"""What was found in order before is known again: what is asked over and over is checked once."""

from __future__ import annotations

_MOST, _LARGEST = 4096, 1024


class KnownGood:
    """Remembers small requests by their bytes, and by what they were held against.

    Only those of at most 1 KiB; beyond 4,096 of them all are forgotten.
    """

    __slots__ = ("_known",)

    def __init__(self) -> None:
        """Know none."""
        self._known: dict[bytes, object] = {}

    def knows(self, data: bytes, by: object) -> bool:
        """Say whether a request was found in order by this very object."""
        return self._known.get(data) is by

    def learn(self, data: bytes, by: object) -> None:
        """Remember that it was."""
        if len(data) > _LARGEST:
            return
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[data] = by
