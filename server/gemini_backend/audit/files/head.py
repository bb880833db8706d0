"""The head: how long the log must be, kept apart from it and sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gemini_backend.audit.files.sealing import GENESIS, body_of, joined, taken_apart
from gemini_backend.disk.private_files import replace

if TYPE_CHECKING:
    from pathlib import Path

    from gemini_backend.audit.files.sealing import Seal

_MAX_BYTES = 4096


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the log ends.

    Attributes:
        sequence: Sequence of the last entry; 0 where there is none.
        mac: HMAC of the last entry, hexadecimal.
        file: Number of the file that has it.
        offset: Where that entry ends in the file, in bytes.
    """

    sequence: int
    mac: str
    file: int
    offset: int

    @property
    def previous(self) -> bytes:
        """The HMAC that the next entry covers."""
        return bytes.fromhex(self.mac)


BEGIN = Head(0, GENESIS.hex(), 1, 0)
"""The head of a log without entries."""


class HeadError(Exception):
    """The head cannot be trusted; the message says why."""


def read_head(file: Path, seal: Seal) -> Head | None:
    """Return the head; None where there is none.

    Raises:
        HeadError: it is not one that was sealed with this key.
        OSError: it cannot be read.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    sealed = taken_apart(data)
    if sealed is None or seal.head(sealed.body) != sealed.mac:
        raise HeadError(f"{file.name} is not as this server wrote it")
    try:
        return msgspec.json.decode(sealed.body + b"}", type=Head)
    except msgspec.DecodeError:
        raise HeadError(f"{file.name} is of another version") from None


def write_head(file: Path, head: Head, seal: Seal) -> None:
    """Put a head in place of the one before: whoever reads finds one or the other, whole.

    Raises:
        OSError: it cannot be written; the one before is still there.
    """
    body = body_of(head)
    replace(file, joined(body, seal.head(body)))
