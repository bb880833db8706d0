"""The runs under way that calls may share, of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

F = TypeVar("F")


class Flights(Generic[F]):
    """Which flights are in the air, and which of them may be joined, by what they answer."""

    __slots__ = ("_all", "_open")

    def __init__(self) -> None:
        """Begin with none."""
        self._all: set[F] = set()
        self._open: dict[bytes, F] = {}

    def __len__(self) -> int:
        """Return how many are in the air."""
        return len(self._all)

    def __iter__(self) -> Iterator[F]:
        """Iterate over those in the air now, whatever becomes of them meanwhile."""
        return iter(tuple(self._all))

    def find(self, key: bytes) -> F | None:
        """Return the one that may be joined."""
        return self._open.get(key)

    def add(self, key: bytes, flight: F) -> None:
        """Let one be joined from now on, by calls with this key."""
        self._open[key] = flight
        self._all.add(flight)

    def close(self, key: bytes, flight: F) -> None:
        """Let nobody else join it."""
        if self._open.get(key) is flight:
            del self._open[key]

    def landed(self, flight: F) -> None:
        """Forget one that has ended."""
        self._all.discard(flight)
