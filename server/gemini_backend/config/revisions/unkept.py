"""What is never written to disk: secrets, and values that hold one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_backend.config.secret import Secret
from gemini_backend.masking import Mask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.sources import Given

# One that is shorter may be a word of any value.
_SHORTEST = 8
_keys_of_google = Mask()


def secrets_of(given: Mapping[str, Given]) -> tuple[str, ...]:
    """Return the secrets among the values; those of less than 8 characters are left out."""
    values = (one.value for one in given.values())
    found = (item for value in values for item in (value if isinstance(value, tuple) else (value,)))
    texts = (item.reveal() for item in found if isinstance(item, Secret))
    return tuple(text for text in texts if len(text) >= _SHORTEST)


def keepable(value: object, secrets: tuple[str, ...]) -> bool:
    """Say whether a value holds none of these secrets, nor what looks like a key of Google's."""
    if not isinstance(value, str | tuple):
        return True
    text = msgspec.json.encode(value, enc_hook=repr).decode()
    return _keys_of_google.text(text) == text and not any(one in text for one in secrets)
