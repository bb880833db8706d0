"""One key, with its text and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING

from gemini_backend.call import UpstreamKey

if TYPE_CHECKING:
    from gemini_backend.config import Secret

_ID_DIGITS = 8


class KeySource(Enum):
    """Where keys come from, in the order of their use."""

    CONFIGURATION = "configuration"
    FILE = "file"
    COMMAND = "command"
    STORE = "store"


class KeyProblem(Exception):
    """A source cannot be read; the message names the fix, and holds nothing of what was read."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key; its text is hidden.

    Attributes:
        text: What is sent to the model API.
        source: Where it comes from.
        project: Whose quota it shares; empty for one of its own.
        created: When it was stored, seconds since the epoch; None for other sources.
        display_name: What it is for, in words.
        key: The same key as the rest of the server knows it.
    """

    text: Secret
    source: KeySource
    project: str = ""
    created: float | None = None
    display_name: str = ""
    key: UpstreamKey = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Know its id."""
        key_id = key_id_of(self.text.reveal())
        object.__setattr__(self, "key", UpstreamKey(key_id, self.project or key_id))


def key_id_of(text: str) -> str:
    """Return the id of a key: the first 8 hexadecimal digits of its SHA-256."""
    return sha256(text.encode()).hexdigest()[:_ID_DIGITS]
