"""What the audit log has of one act: who did what to what, and how it ended."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gemini_backend import masking

if TYPE_CHECKING:
    from collections.abc import Mapping

LOCAL = "local"
"""Peer of a command on this machine, and of what the server itself does."""
ALTERED = "audit log altered"
"""Action of the entry by which a writer notes that it found the log altered."""
TORN = "audit log repaired"
"""Action of the entry by which a writer notes that it cut off an interrupted write."""

# Characters of a field; longer ones are cut off, which a last character `…` shows.
_LIMITS = {
    "tenant": 128,
    "principal": 128,
    "peer": 128,
    "action": 256,
    "target": 1024,
    "code": 32,
    "reason": 128,
}
_MAX_DETAILS, _MAX_NAME, _MAX_DETAIL = 16, 64, 512


class Act(NamedTuple):
    """One act as it is reported; `noted` makes its texts fit for the log.

    Attributes:
        action: Path of the RPC, or a word for what is not an RPC, such as `keys create`.
        target: What it concerned: a resource name, or paths of settings; empty for none.
        code: Name of the status code with which it ended; empty where it has only begun.
        reason: Reason, where it failed.
        tenant: Tenant of who acted; empty where unknown.
        principal: Who acted; empty where unknown.
        peer: Address of the peer; `local` for a command on this machine.
        details: Further facts; at most 16, the rest is left out. Never a secret.
    """

    action: str
    target: str = ""
    code: str = "OK"
    reason: str = ""
    tenant: str = ""
    principal: str = ""
    peer: str = LOCAL
    details: Mapping[str, str] = {}


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the log, in the order of its line.

    Attributes:
        sequence: Position in the log, from 1, without gaps.
        batch: Sequence of the first entry that was written by the same write.
        time: When it was written, UTC.
    """

    sequence: int
    batch: int
    time: datetime
    tenant: str
    principal: str
    peer: str
    action: str
    target: str
    code: str
    reason: str
    details: dict[str, str]


def entry_of(act: Act, sequence: int, batch: int, time: datetime) -> Entry:
    """Return an act as an entry: secrets masked, control characters escaped, long texts cut."""
    texts = {name: fit(getattr(act, name), limit) for name, limit in _LIMITS.items()}
    pairs = list(act.details.items())[:_MAX_DETAILS]
    details = {fit(name, _MAX_NAME): fit(value, _MAX_DETAIL) for name, value in pairs}
    return Entry(sequence=sequence, batch=batch, time=time, details=details, **texts)


def fit(text: str, limit: int) -> str:
    """Return a text on one line of at most `limit` characters, without secrets.

    What a terminal or a reader of lines could take for something else (control characters, line
    separators, marks that turn the direction of writing, halves of surrogate pairs) is escaped.
    """
    text = masking.text(text[: limit + 1])
    if not text.isprintable():
        text = "".join(one if one.isprintable() else _escaped(one) for one in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
