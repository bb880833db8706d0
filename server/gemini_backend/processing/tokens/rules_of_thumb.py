"""Tokens by rule of thumb, where nothing has counted them.

What a limit or a budget is followed by is typical; what is refused or paid by is ample, rather too
many tokens than too few.
"""

from __future__ import annotations

from typing import Final

MEDIUM_TOKENS: Final = 258
"""Typical tokens of a picture, which any medium is taken for where nobody looks at it."""
_CHARACTERS_PER_TOKEN = 4
_BYTES_PER_TOKEN = 3


def typical_tokens(size: int) -> int:
    """Return how many tokens so many characters of prose, or bytes of a schema, typically have."""
    return -(-size // _CHARACTERS_PER_TOKEN)


def ample_tokens(size: int) -> int:
    """Return how many tokens so many bytes have, rather too many than too few."""
    return -(-size // _BYTES_PER_TOKEN)


def ample_tokens_of(text: str) -> int:
    """Return how many tokens a text has, rather too many than too few."""
    return ample_tokens(len(text) if text.isascii() else len(text.encode(errors="replace")))
