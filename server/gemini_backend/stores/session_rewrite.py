"""Sessions as they were kept before the contract followed Gemini's numbers and types.

The blobs are rewritten field by field on the wire, by numbers that are written out here, so that
what this does never changes with the contract. Fields that it has no rule for stay as they are.
What a field of today cannot hold goes to the field's raw twin, or to `extra`: nothing is lost.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, NamedTuple

from gemini_backend.stores.wire_format import (
    LENGTH,
    VARINT,
    Piece,
    bytes_field,
    number_field,
    pieces,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping

    Rule = Callable[[Piece], bytes]

_log = logging.getLogger(__name__)

_DURATION = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_EXTRA = 15


class _Column(NamedTuple):
    """Messages in a table, and how they are read and written."""

    message: str
    read: str
    write: str


_HEADS = _Column(
    "Session",
    "SELECT uid, head FROM sessions WHERE uid > ? ORDER BY uid LIMIT ?",
    "UPDATE sessions SET head = ? WHERE uid = ?",
)
_TURNS = _Column(
    "SessionTurn",
    "SELECT place, data FROM turns WHERE place > ? ORDER BY place LIMIT ?",
    "UPDATE turns SET data = ? WHERE place = ?",
)
_BEFORE_ALL = -(2**63)
_AT_ONCE = 200  # blobs that are held at a time


def rewrite_sessions(db: sqlite3.Connection) -> None:
    """Rewrite every session and turn of a database, within the transaction that is open.

    A blob that is no message stays as it is, and the log says how many there were.
    """
    odd = _rewrite(db, _HEADS) + _rewrite(db, _TURNS)
    db.execute(
        "UPDATE sessions SET bytes = "
        "(SELECT coalesce(sum(length(data)), 0) FROM turns WHERE turns.uid = sessions.uid)"
    )
    if odd:
        _log.warning("unreadable blobs of sessions were kept unchanged", extra={"count": odd})


def rewritten(data: bytes, message: str) -> bytes:
    """Return the bytes of a message of before as one of today.

    Raises:
        ValueError: it is no message.
    """
    rules = _MESSAGES[message]
    made = bytearray()
    for piece in pieces(data):
        rule = rules.get(piece.number)
        made += piece.raw if rule is None else rule(piece)
    return bytes(made)


def _rewrite(db: sqlite3.Connection, column: _Column) -> int:
    """Rewrite one column, some rows at a time; return how many could not be read."""
    odd, last = 0, _BEFORE_ALL
    while rows := db.execute(column.read, (last, _AT_ONCE)).fetchall():
        for place, data in rows:
            try:
                made = rewritten(data, column.message)
            except ValueError:
                odd += 1
            else:
                if made != data:
                    db.execute(column.write, (made, place))
        last = rows[-1][0]
    return odd


def _inner(message: str) -> Rule:
    def rule(piece: Piece) -> bytes:
        if not isinstance(piece.value, bytes):
            return piece.raw
        return bytes_field(piece.number, rewritten(piece.value, message))

    return rule


def _renumbered(numbers: Mapping[int, int]) -> Rule:
    def rule(piece: Piece) -> bytes:
        if piece.kind != VARINT or not isinstance(piece.value, int):
            return piece.raw
        return number_field(piece.number, numbers.get(piece.value, piece.value))

    return rule


def _word(raw: int, numbers: Mapping[str, int]) -> Rule:
    """Make a word an enum's value, or leave it as the word in the field `raw`."""

    def rule(piece: Piece) -> bytes:
        if piece.kind != LENGTH or not isinstance(piece.value, bytes):
            return piece.raw
        number = numbers.get(piece.value.decode(errors="replace"))
        if number is not None:
            return number_field(piece.number, number)
        return bytes_field(raw, piece.value) if piece.value else b""

    return rule


def _duration(number: int, name: str) -> Rule:
    """Make seconds with suffix a duration in the field `number`; else a field of `extra`."""

    def rule(piece: Piece) -> bytes:
        if piece.kind != LENGTH or not isinstance(piece.value, bytes):
            return piece.raw
        match = _DURATION.fullmatch(piece.value.decode(errors="replace"))
        if match is None:
            value = bytes_field(3, piece.value)  # Value.string_value
            entry = bytes_field(1, name.encode()) + bytes_field(2, value)
            return bytes_field(_EXTRA, bytes_field(1, entry))  # Struct.fields
        seconds, nanos = int(match[1]), int((match[2] or "").ljust(9, "0"))
        inside = number_field(1, seconds) if seconds else b""
        return bytes_field(number, inside + (number_field(2, nanos) if nanos else b""))

    return rule


def _prefixed(prefix: bytes) -> Rule:
    def rule(piece: Piece) -> bytes:
        value = piece.value
        if not isinstance(value, bytes) or not value or value.startswith(prefix):
            return piece.raw
        return bytes_field(piece.number, prefix + value)

    return rule


_TOOLS = {
    "GOOGLE_SEARCH_WEB": 100,
    "GOOGLE_SEARCH_IMAGE": 101,
    "URL_CONTEXT": 102,
    "GOOGLE_MAPS": 103,
    "FILE_SEARCH": 104,
    "MEDIA_PROCESSING": 105,
}
_MESSAGES: dict[str, dict[int, Rule]] = {
    "Session": {4: _inner("Content"), 13: _inner("Usage")},
    "SessionTurn": {
        2: _inner("Content"),
        3: _inner("Content"),
        5: _prefixed(b"executions/"),
        6: _inner("Usage"),
        8: _inner("Candidate"),
    },
    "Content": {2: _inner("Part")},
    "Part": {
        6: _inner("ExecutableCode"),
        7: _inner("CodeExecutionResult"),
        8: _inner("ToolUse"),
        9: _inner("ToolUse"),
        12: _inner("VideoMetadata"),
        13: _renumbered({4: 100}),
    },
    "ExecutableCode": {1: _word(4, {"PYTHON": 1})},
    "CodeExecutionResult": {
        1: _word(4, {"OUTCOME_OK": 1, "OUTCOME_FAILED": 2, "OUTCOME_DEADLINE_EXCEEDED": 3})
    },
    "ToolUse": {2: _word(4, _TOOLS)},  # calls and responses alike
    "VideoMetadata": {1: _duration(5, "startOffset"), 2: _duration(6, "endOffset")},
    "Candidate": {
        2: _inner("Content"),
        3: _renumbered({5: 6, 6: 5, 14: 100, 15: 14, 16: 15, 17: 16, 18: 17, 19: 101, 20: 102}),
        6: _inner("SafetyRating"),
        9: _inner("UrlContextMetadata"),
    },
    "SafetyRating": {1: _renumbered({1: 7, 2: 8, 3: 9, 4: 10, 5: 11, 6: 100})},
    "UrlContextMetadata": {1: _inner("UrlMetadata")},
    "UrlMetadata": {
        2: _word(
            3,
            {
                "URL_RETRIEVAL_STATUS_SUCCESS": 1,
                "URL_RETRIEVAL_STATUS_ERROR": 2,
                "URL_RETRIEVAL_STATUS_PAYWALL": 3,
                "URL_RETRIEVAL_STATUS_UNSAFE": 4,
            },
        )
    },
    "Usage": {
        11: _word(14, {"standard": 100, "flex": 101, "priority": 102, "deferred": 103}),
        12: _word(
            16,
            {
                "ON_DEMAND": 100,
                "ON_DEMAND_PRIORITY": 101,
                "ON_DEMAND_FLEX": 102,
                "ON_DEMAND_OFFPEAK": 103,
                "PROVISIONED_THROUGHPUT": 104,
            },
        ),
    },
}
