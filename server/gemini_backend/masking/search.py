"""Finds pieces of known texts in another text, without looking at each of its places."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from struct import Struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gemini_backend.masking.forms import Form

_GRAM = 4
_FEWEST_CHARACTERS = 5
# Reads so many words at once, which is cheaper than a view of them where there are few.
_FEW = 32
_SHORT = tuple(Struct(f"{number}I") for number in range(_FEW))
Span = tuple[int, int]


class Search:
    """Looks for forms, and for pieces of them.

    A piece of n characters contains a gram of four at one of any n - 3 places in a row, so only
    every fourth place is looked at where no piece is shorter than seven characters; that makes it
    cheap enough for every line of a log. Where a known gram is found, it is extended on both sides.
    """

    def __init__(self, forms: Iterable[Form], base: Search | None = None) -> None:
        """Prepare for texts in lower case.

        Args:
            forms: What is looked for.
            base: A search whose forms are looked for as well; it stays as it is. A form takes some
                0.3 ms to prepare, one of the base next to nothing.
        """
        known = tuple(forms)
        shortest = min((form.piece for form in known), default=_GRAM)
        step = min(_GRAM, shortest - _GRAM + 1)
        self.step: int = step if base is None else min(step, base.step)
        self._offsets = tuple(range(0, _GRAM, self.step))
        words = frozenset(
            word for form in known for word in _words(form.text.encode(errors="replace"))
        )
        self.words: frozenset[int] = words if base is None else base.words | words
        places: defaultdict[str, list[tuple[Form, int]]] = defaultdict(list)
        for form in known:
            for at in range(len(form.text) - _GRAM + 1):
                gram = form.text[at : at + _GRAM]
                if not _is_inside_repetition(form.text, at, gram):
                    places[gram].append((form, at))
        before = {} if base is None else base.places
        self.places: dict[str, list[tuple[Form, int]]] = before | {
            gram: before.get(gram, []) + at for gram, at in places.items()
        }

    def may_find(self, data: bytes) -> bool:
        """Tell, at the least cost, whether it is worth while to look for pieces in a text.

        Args:
            data: The text in lower case, as UTF-8.
        """
        size = len(data)
        if size < _GRAM:
            return False
        for offset in self._offsets:
            number = (size - offset) // _GRAM
            words: Iterable[int]
            if number < _FEW:
                words = _SHORT[number].unpack_from(data, offset)
            else:
                words = memoryview(data)[offset : offset + number * _GRAM].cast("I")
            if not self.words.isdisjoint(words):
                return True
        return False

    def spans(self, text: str) -> list[Span]:
        """Return where pieces are, in order; they may overlap."""
        places = self.places
        found: list[Span] = []
        covered = 0
        for at in range(0, len(text) - _GRAM + 1, self.step):
            gram = text[at : at + _GRAM]
            if at < covered or gram not in places:
                continue
            ends: tuple[int, ...] = (at,)
            if _repeats(gram):
                first, covered = _repetition(text, at)
                ends = (first, covered - _GRAM)
            for place in ends:
                for form, there in places[gram]:
                    span = _extended(text, place, form.text, there)
                    if _gives_away(text, span, form):
                        found.append(span)
                        covered = max(covered, span[1])
        return found


def _words(data: bytes) -> Iterator[int]:
    """Yield every gram of a text as the number that memory has for it."""
    for at in range(len(data) - _GRAM + 1):
        yield int.from_bytes(data[at : at + _GRAM], sys.byteorder)


def _repeats(gram: str) -> bool:
    return gram == gram[0] * _GRAM


def _is_inside_repetition(text: str, at: int, gram: str) -> bool:
    """Tell whether the gram is one character repeated that goes on on both sides.

    Only the ends of a repetition are compared: they tell how the texts on both sides of it lie to
    each other, and a long text of zeros costs no more than another.
    """
    if not _repeats(gram) or at == 0:
        return False
    return text[at - 1] == gram[0] and text[at + _GRAM : at + _GRAM + 1] == gram[0]


def _repetition(text: str, at: int) -> Span:
    """Return where the repetition of the character at a place begins and ends."""
    one, first = text[at], at
    while first > 0 and text[first - 1] == one:  # fewer steps than there are between two places
        first -= 1
    found = re.compile(re.escape(one) + "*").match(text, at)
    return first, at if found is None else found.end()


def _extended(text: str, at: int, form: str, there: int) -> Span:
    """Return the whole run that is equal in both texts around a gram that they have in common."""
    start, end = at, at + _GRAM
    left, right = there - 1, there + _GRAM
    while left >= 0 and start > 0 and form[left] == text[start - 1]:
        left, start = left - 1, start - 1
    while right < len(form) and end < len(text) and form[right] == text[end]:
        right, end = right + 1, end + 1
    return start, end


def _gives_away(text: str, span: Span, form: Form) -> bool:
    """Tell whether a run is the secret or a piece of it, and no number or line of dashes."""
    start, end = span
    if end - start == len(form.text):
        return True
    if end - start < form.piece:
        return False
    piece = text[start:end]
    return len(set(piece)) >= _FEWEST_CHARACTERS and any(map(str.isalpha, piece))
