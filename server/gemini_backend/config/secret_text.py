"""Secrets as files, shells and editors give them, and what is meant."""

from __future__ import annotations

import re
import string

# Byte order marks, as they are and as they look in another encoding; spaces that nobody sees.
_AROUND = string.whitespace + "\ufeff\xef\xbb\xbf\xa0\u200b\u200e\u2060"
_QUOTES = ('"', "'")
_BETWEEN = re.compile(r"[,\r\n]")


def cleaned(text: str) -> str:
    """Return a secret without what is not part of any: byte order mark, blanks, line end, quotes.

    Quotes are removed where they stand on both sides, as some tools keep those of an env file.
    """
    text = text.strip(_AROUND)
    if len(text) > 1 and text[0] in _QUOTES and text[0] == text[-1]:
        text = text[1:-1].strip(_AROUND)
    return text


def several(text: str) -> list[str]:
    """Return the secrets in a text, separated by commas or line ends; blank ones are left out."""
    found = (cleaned(part) for part in _BETWEEN.split(cleaned(text)))
    return [one for one in found if one]
