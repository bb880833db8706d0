"""The configured keys, as the rest of the server knows them: by a digest, never by their text."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from gemini_backend.call import UpstreamKey

if TYPE_CHECKING:
    from collections.abc import Sequence

_ID_DIGITS = 8


def keys_of(api_keys: Sequence[str], projects: Sequence[str] = ()) -> tuple[UpstreamKey, ...]:
    """Return the keys in their order; one without a project of a name stands for its own."""
    keys = []
    for index, text in enumerate(api_keys):
        key_id = sha256(text.encode()).hexdigest()[:_ID_DIGITS]
        keys.append(UpstreamKey(index, key_id, projects[index] if projects else key_id))
    return tuple(keys)
