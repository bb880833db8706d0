"""Long texts, cut where no token can lie across the cut: the pieces' tokens are the text's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# About 15 ms of counting: what else is to be counted is not kept waiting for longer.
PIECE = 65_536
# Where a safe cut is looked for: in so many characters before the end of a piece, then in so many
# after it, at so many blanks and newlines of them.
_BEFORE, _AFTER, _TRIES = 1024, 8 * PIECE, 1024
# In Gemma's vocabulary blanks stand only at the beginning of a token, but for one token of markup,
# `> </`; newlines stand with newlines alone. What it writes for a blank may be in the text itself.
_SAFE = re.compile("[^ >\u2581] |[^\n]\n")


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces of about 65,536 characters, longer where no cut is safe.

    Half a million characters without any are cut all the same, where a cut costs a token at most.
    """
    begin = 0
    while len(text) - begin > PIECE:
        cut = _cut(text, begin + PIECE)
        yield text[begin:cut]
        begin = cut
    if begin < len(text):
        yield text[begin:]


def _cut(text: str, end: int) -> int:
    safe = [*_SAFE.finditer(text, end - _BEFORE, end + 1)]
    if safe:
        return safe[-1].end() - 1
    last = min(end + _AFTER, len(text))
    return min(_next(text, " ", end, last), _next(text, "\n", end, last))


def _next(text: str, mark: str, begin: int, end: int) -> int:
    """Return the first safe cut before a mark; `end` for none. Much faster than by the pattern."""
    at = begin - 1
    for _ in range(_TRIES):
        at = text.find(mark, at + 1, end)
        if at < 0:
            break
        if _SAFE.match(text, at - 1):
            return at
    return end
