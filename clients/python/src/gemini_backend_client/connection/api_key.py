"""The caller's API key, and where it may be sent."""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KEY_VARIABLE", "PLAIN_TEXT", "PlainText", "as_pair", "chosen_key"]

KEY_VARIABLE: Final = "GEMINI_BACKEND_KEY"
"""Environment variable with the API key, where none is given otherwise."""
_OF_ITS_OWN: Final = frozenset({"authorization", "x-api-key"})


class PlainText(Enum):
    """The type of `PLAIN_TEXT`."""

    PLAIN_TEXT = "plain text"

    def __repr__(self) -> str:
        """Show as it is written in a call."""
        return "PLAIN_TEXT"


PLAIN_TEXT: Final = PlainText.PLAIN_TEXT
"""As credentials: no TLS, and the API key is sent all the same, readable on the way."""


def chosen_key(given: str | None, metadata: Mapping[str, str | bytes] | None) -> str:
    """Return the API key to send; empty for none.

    Args:
        given: the key; empty for none, None for that of the environment, unless `metadata` has
            credentials.
        metadata: what is sent with every call.

    Raises:
        ValueError: for a key that cannot be sent, or credentials of two sources.
    """
    others = _OF_ITS_OWN & {name.lower() for name in metadata or ()}
    if given and others:
        msg = f"api_key and metadata[{min(others)!r}] are both given: give one of them"
        raise ValueError(msg)
    source = "api_key" if given is not None else f"the environment variable {KEY_VARIABLE}"
    key = given if given is not None else "" if others else os.environ.get(KEY_VARIABLE, "")
    key = key.strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        msg = f"{source} has characters that no key has: copy the key again, as one line"
        raise ValueError(msg)
    return key


def as_pair(key: str) -> tuple[str, str]:
    """Return the key as metadata have it."""
    return "authorization", f"Bearer {key}"
