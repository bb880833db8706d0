"""What a message holds, counted in its bytes before it is read.

To read a message of a few megabytes that is nothing but empty parts takes seconds and gigabytes,
and all that is done with it later takes time for each of its parts. So the number of its elements
has a bound, as its size has.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from gemini_backend.errors import TooManyParts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor import Descriptor, FieldDescriptor

MOST: Final = 65_536
"""Parts of a message, values of free JSON in it, and other repeated elements: each so many."""
MOST_OF_BATCH: Final = 4 * MOST
"""The same for the items of a batch together."""
_MOST_FIELDS = 16  # for each element that is allowed, of any kind
_AT_A_TIME = 2048  # fields between two pauses: about a millisecond
_DEEPEST = 100  # the reader refuses what nests deeper
_VARINT_BYTES = 10
_MORE = 0x80
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class Element(Enum):
    """Kinds of elements, by what the caller is told of too many of them."""

    PART = "parts; join texts that follow each other, or split the request"
    VALUE = "values in Structs; set the text field beside a Struct instead, e.g. args_json"
    OTHER = "repeated elements; split the request"


class _Step(NamedTuple):
    kind: Element | None  # None where the field does not repeat
    inner: dict[int, _Step] | None  # None where it is no message


_PARTS = frozenset({"gemini.backend.v1.Part", "gemini.backend.v1.FunctionResponsePart"})
_FREE = frozenset({"google.protobuf.Value", "google.protobuf.Struct.FieldsEntry"})
_plans: dict[str, dict[int, _Step]] = {}


def census(data: bytes, message: Descriptor, most: int = MOST) -> Iterator[None]:
    """Count what serialized bytes of a message hold, at once or with pauses at each `yield`.

    Bytes that are no message of that kind are counted as far as they can be understood: whoever
    reads them refuses them.

    Raises:
        TooManyParts: there is too much; the rest has not been looked at.
    """
    try:
        yield from _count(data, plan_of(message), most)
    except IndexError:
        return  # it is cut short


def plan_of(message: Descriptor) -> dict[int, _Step]:
    """Return which fields of a message hold elements or lead to some, by number."""
    plan = _plans.get(message.full_name)
    if plan is None:
        plan = _plans[message.full_name] = {}
        for field in message.fields:
            inner = None if field.message_type is None else plan_of(field.message_type)
            kind = _kind(field)
            if kind is not None or inner is not None:
                plan[field.number] = _Step(kind, inner)
    return plan


def _kind(field: FieldDescriptor) -> Element | None:
    if not field.is_repeated:
        return None
    name = "" if field.message_type is None else field.message_type.full_name
    if name in _PARTS:
        return Element.PART
    return Element.VALUE if name in _FREE else Element.OTHER


def _count(data: bytes, plan: dict[int, _Step], most: int) -> Iterator[None]:
    counts = dict.fromkeys(Element, 0)
    outer: list[tuple[int, dict[int, _Step]]] = []
    at, end, fields = 0, len(data), 0
    while True:
        while at >= end:
            if not outer:
                return
            end, plan = outer.pop()
        fields += 1
        if not fields % _AT_A_TIME:
            if fields > most * _MOST_FIELDS:
                raise too_many(Element.OTHER, most)
            yield
        number, begin, at = _field(data, at)
        step = plan.get(number)
        if step is None:
            continue
        if step.kind is not None:
            counts[step.kind] += 1
            if counts[step.kind] > most:
                raise too_many(step.kind, most)
        if step.inner is not None and len(outer) < _DEEPEST:
            outer.append((end, plan))
            at, end, plan = begin, min(at, end), step.inner


def _field(data: bytes, at: int) -> tuple[int, int, int]:
    """Return a field's number, 0 where it has no length, and where its value begins and ends.

    Raises:
        IndexError: no message of the contract has such a field.
    """
    tag = data[at]
    at += 1
    if tag >= _MORE:
        tag, at = _varint(data, at - 1)
    wire = tag & 7
    if wire == _BYTES:
        size = data[at]
        at += 1
        if size >= _MORE:
            size, at = _varint(data, at - 1)
        return tag >> 3, at, at + size
    if wire == _VARINT:
        return 0, at, _varint(data, at)[1]
    if wire == _FIXED32:
        return 0, at, at + 4
    if wire == _FIXED64:
        return 0, at, at + 8
    raise IndexError


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number at a place, and the place behind it.

    Raises:
        IndexError: it is none.
    """
    found = 0
    for place in range(_VARINT_BYTES):
        byte = data[at + place]
        found |= (byte & 0x7F) << (7 * place)
        if byte < _MORE:
            return found, at + place + 1
    raise IndexError


def too_many(kind: Element, most: int = MOST) -> TooManyParts:
    """Return the failure of a message that has more elements of a kind than it may have."""
    return TooManyParts(f"the message has more than {most:,} {kind.value}")
