"""Vectors of what was asked, kept in this process, to find what was asked alike."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Beyond so many numbers a search goes to a thread, so that it keeps no other call waiting.
_INLINE_NUMBERS = 1_000_000
_GROWTH = 1024


class Vectors:
    """Keys by their vectors, within partitions that never mix.

    At most `max_entries` are kept, of all partitions together; beyond, the oldest goes. Memory is
    4 bytes a number.
    """

    def __init__(self, dimensions: int, max_entries: int) -> None:
        """Begin with none; vectors of another length than `dimensions` are not taken."""
        self.dimensions = dimensions
        self.max_entries = max_entries
        self._matrix: NDArray[np.float32] = np.zeros((0, dimensions), np.float32)
        self._keys: list[bytes] = []
        self._partitions: list[bytes] = []
        self._rows: dict[bytes, list[int]] = {}
        self._next = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._keys)

    @property
    def size_bytes(self) -> int:
        """How many bytes the vectors take."""
        return int(self._matrix.nbytes)

    def add(self, partition: bytes, vector: Sequence[float], key: bytes) -> None:
        """Keep a key by its vector; does nothing where it is there already, or has no length."""
        row = _unit(vector, self.dimensions)
        if row is None or any(self._keys[at] == key for at in self._rows.get(partition, ())):
            return
        place = self._place()
        self._matrix[place] = row
        self._keys[place], self._partitions[place] = key, partition
        self._rows.setdefault(partition, []).append(place)

    async def nearest(
        self, partition: bytes, vector: Sequence[float], threshold: float
    ) -> tuple[bytes, float] | None:
        """Return the key of the most alike, and how alike it is; None below the threshold."""
        rows = self._rows.get(partition)
        unit = _unit(vector, self.dimensions)
        if not rows or unit is None:
            return None
        near = self._matrix[rows]  # a copy, which nobody changes meanwhile
        keys = [self._keys[row] for row in rows]
        if near.size > _INLINE_NUMBERS:
            alike = await asyncio.to_thread(np.dot, near, unit)
        else:
            alike = near @ unit
        best = int(alike.argmax())
        found = float(alike[best])
        return (keys[best], min(found, 1.0)) if found >= threshold else None

    def _place(self) -> int:
        """Return a free row, the oldest one's where all are taken."""
        if len(self._keys) < self.max_entries:
            place = len(self._keys)
            if place == len(self._matrix):
                more = min(_GROWTH, self.max_entries - place)
                grown = np.zeros((more, self.dimensions), np.float32)
                self._matrix = np.concatenate([self._matrix, grown])
            self._keys.append(b"")
            self._partitions.append(b"")
            return place
        place = self._next
        self._next = (place + 1) % self.max_entries
        rows = self._rows[self._partitions[place]]
        rows.remove(place)
        if not rows:
            del self._rows[self._partitions[place]]
        return place


def _unit(vector: Sequence[float], dimensions: int) -> NDArray[np.float32] | None:
    if len(vector) != dimensions:
        return None
    row = np.asarray(vector, np.float32)
    norm = float(np.linalg.norm(row))
    return row / norm if norm > 0 and np.isfinite(norm) else None
