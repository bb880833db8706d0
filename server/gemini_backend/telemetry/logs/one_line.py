"""Keeps what callers and model APIs chose from looking like a line of the log's own."""

from __future__ import annotations

import re

# Control characters, what ends a line or a paragraph, and what turns the direction of writing.
_FORGING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """Return a text in which such characters are written as escapes."""
    return _FORGING.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
