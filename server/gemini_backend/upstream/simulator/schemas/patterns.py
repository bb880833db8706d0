"""A string that matches a regular expression, for schemas that have a ``pattern``."""

from __future__ import annotations

import re
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CLASSES = {
    ops.CATEGORY_DIGIT: "1",
    ops.CATEGORY_WORD: "a",
    ops.CATEGORY_SPACE: " ",
    ops.CATEGORY_NOT_DIGIT: "a",
    ops.CATEGORY_NOT_WORD: "-",
    ops.CATEGORY_NOT_SPACE: "a",
}
MAX_LETTERS = 1_000
_ALPHABET = "a0A-_ .:/@1bB"


def matching(pattern: str) -> str | None:
    """A short string in which ``pattern`` is found, or None if none could be made.

    Look-arounds and back-references are ignored while writing, so the result is checked at the end.
    """
    try:
        text = "".join(_write(_parser.parse(pattern)))
        return text if re.search(pattern, text) else None
    except (re.error, RecursionError, OverflowError, KeyError):
        return None


def _write(tokens: Iterable[Any]) -> list[str]:
    out: list[str] = []
    for op, argument in tokens:
        out += _one(op, argument)
    return out


def _one(op: object, argument: Any) -> list[str]:
    if op in _LETTERS:
        return [_LETTERS[op](argument)]
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        low, high, inner = argument
        # One where none is needed: an empty string says little.
        letters, times = _write(inner), int(min(max(low, 1), high))
        if len(letters) * times > MAX_LETTERS:
            raise OverflowError
        return letters * times
    if op is ops.SUBPATTERN:
        return _write(argument[-1])
    if op is ops.BRANCH:
        return _write(argument[1][0])
    return []


def _member(items: list[tuple[Any, Any]]) -> str:
    if items[0][0] is ops.NEGATE:
        inner = "".join(re.escape(c) for c in _ALPHABET if not _contains(items[1:], c))
        return inner[-1]
    op, argument = items[0]
    if op is ops.RANGE:
        return chr(argument[0])
    return _CLASSES[argument] if op is ops.CATEGORY else chr(argument)


_LETTERS: dict[object, Callable[[Any], str]] = {
    ops.LITERAL: chr,
    ops.NOT_LITERAL: lambda code: next(c for c in _ALPHABET if ord(c) != code),
    ops.ANY: lambda _: "a",
    ops.IN: _member,
}


def _contains(items: list[tuple[Any, Any]], letter: str) -> bool:
    for op, argument in items:
        if op is ops.LITERAL and argument == ord(letter):
            return True
        if op is ops.RANGE and argument[0] <= ord(letter) <= argument[1]:
            return True
        if op is ops.CATEGORY and _CLASSES[argument] == letter:
            return True
    return False
