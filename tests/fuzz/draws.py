"""Decisions read off bytes: what a fuzzer varies, and a corpus repeats."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class Draws:
    """Gives one decision after the other; zeros once the bytes are used up."""

    def __init__(self, data: bytes) -> None:
        """Read off `data`."""
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """How many bytes are not used yet."""
        return len(self._data) - self._at

    def byte(self) -> int:
        """Return the next byte."""
        if self._at >= len(self._data):
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def below(self, end: int) -> int:
        """Return a number from 0 to `end` - 1; of one byte, or of two where one is not enough."""
        number = self.byte()
        if end > 256:
            number = number << 8 | self.byte()
        return number % end

    def flag(self) -> bool:
        """Return yes or no; no once the bytes are used up."""
        return self.byte() & 1 == 1

    def one_of(self, choices: Sequence[T]) -> T:
        """Return one of several."""
        return choices[self.below(len(choices))]

    def data(self, most: int = 64) -> bytes:
        """Return so many bytes at most."""
        length = min(self.below(most + 1), self.left)
        self._at += length
        return self._data[self._at - length : self._at]

    def rest(self) -> bytes:
        """Return all that is left."""
        at, self._at = self._at, len(self._data)
        return self._data[at:]

    def text(self, most: int = 64) -> str:
        """Return a text; bytes that are not UTF-8 become halves of surrogate pairs."""
        return self.data(most).decode(errors="surrogateescape")

    def pieces(self, data: bytes, most: int = 8) -> list[bytes]:
        """Return data cut at places."""
        places = sorted(self.below(len(data) + 1) for _ in range(self.below(most)))
        edges = [0, *places, len(data)]
        return [data[a:b] for a, b in itertools.pairwise(edges)]

    def edited(self, text: str) -> str:
        """Return a text with a few edits: cut, repeated, changed, longer, in other letters."""
        for _ in range(self.below(4)):
            at = self.below(len(text) + 1)
            edits = (
                text[:at],
                text[at:],
                text[:at] + self.text(4) + text[at:],
                text[:at] + self.text(4) + text[at + 1 :],
                text[:at] + text[at + 1 :],
                text + text[at:],
                text.swapcase(),
                f"{text[:at]} {text[at:]}",
            )
            text = self.one_of(edits)
        return text
