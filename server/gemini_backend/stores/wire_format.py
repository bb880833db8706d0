"""Protobuf's wire format, as far as it takes to rewrite messages without their descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT: Final = 0
LENGTH: Final = 2
_FIXED = {1: 8, 5: 4}  # bytes of the kinds that have always as many
_LONGEST_VARINT = 10


class Piece(NamedTuple):
    """One field of a message: its number, its kind, its value, and all of it as it stands.

    The value is a number for a varint, else bytes.
    """

    number: int
    kind: int
    value: int | bytes
    raw: bytes


def pieces(data: bytes) -> Iterator[Piece]:
    """Yield the fields of a message, in their order.

    Raises:
        ValueError: it is no message.
    """
    at = 0
    while at < len(data):
        begin = at
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == VARINT:
            value, at = _varint(data, at)
        else:
            size = _FIXED.get(kind)
            if kind == LENGTH:
                size, at = _varint(data, at)
            if size is None or at + size > len(data):
                msg = f"field {number} of kind {kind} has no end"
                raise ValueError(msg)
            value = data[at : at + size]
            at += size
        yield Piece(number, kind, value, data[begin:at])


def number_field(number: int, value: int) -> bytes:
    """Return a field that holds a number from 0 on."""
    return _encoded(number << 3 | VARINT) + _encoded(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a field that holds bytes, text or a message."""
    return _encoded(number << 3 | LENGTH) + _encoded(len(value)) + value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(data):
            break
        byte = data[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return value, at + place + 1
    msg = "a number has no end"
    raise ValueError(msg)


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:  # noqa: PLR2004 - seven bits a byte
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
