"""Gemini's JSON into fields of the contract, for any message, without losing anything.

One rule does it all: a field of the contract takes the JSON field of the same name in camel case if
it can hold the value so that the JSON could be written again; everything else goes, as it came,
into the `extra` of the message that it belongs to.
"""

from __future__ import annotations

import math
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import FieldDescriptor as Field

from gemini_backend.errors import MalformedAnswer
from gemini_backend.upstream.gemini.names import numbers_by_word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from google.protobuf.descriptor import Descriptor

MAX_DEPTH: Final = 24
"""Most levels of objects and lists within each other: protobuf readers stop at 100 levels of
messages, and a level of JSON takes three of them."""

_UNFIT: Final = object()

# fields that the contract has for itself, whatever Gemini may call by the same name
_OWN: Mapping[str, frozenset[str]] = {
    "Usage": frozenset({"quality"}),
    "CountTokensResponse": frozenset({"method", "model"}),
    "Delta": frozenset(
        {"candidate_index", "parts", "role", "usage", "upstream_event", "model_version"}
        | {"response_extra"}
    ),
}


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a JSON field goes: the field's name, what reads it, and what excludes it."""

    name: str
    read: Callable[[Any], Any]
    twin: str | None
    rivals: tuple[str, ...]


def fields(message: Descriptor, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keyword arguments that make the message out of a JSON object."""
    slots = _slots(message)
    found: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, item in value.items():
        slot = slots.get(key)
        if slot is None or any(rival in found for rival in slot.rivals):
            extra[key] = item
        elif item is not None:
            taken = slot.read(item)
            if taken is not _UNFIT:
                found[slot.name] = taken
            elif slot.twin and isinstance(item, str) and item:
                found[slot.twin] = item
            else:
                extra[key] = item
    if extra:
        found["extra"] = free(extra)
    return found


def free(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object so that a `google.protobuf.Struct` takes it.

    Numbers beyond the range of a double become their digits as text.

    Raises:
        MalformedAnswer: it nests deeper than MAX_DEPTH.
    """
    if _plain(value, MAX_DEPTH):
        return dict(value)
    result: dict[str, Any] = _freed(value)
    return result


def base64_bytes(text: str) -> bytes | None:
    """Return the bytes of base64 text; None where encoding them would not give that text."""
    try:
        data = a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError):
        return None
    return data if b2a_base64(data, newline=False) == text.encode() else None


def _plain(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        inner: Any = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        return not isinstance(value, int) or -(2**1000) < value < 2**1000
    if depth == 0:
        msg = f"the answer nests deeper than {MAX_DEPTH} levels, which no message can carry"
        raise MalformedAnswer(msg)
    return all(_plain(item, depth - 1) for item in inner)


def _freed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _freed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_freed(item) for item in value]
    return value if _plain(value, 0) else str(value)


@cache
def _slots(message: Descriptor) -> dict[str, _Slot]:
    own = _OWN.get(message.name, frozenset())
    names = message.fields_by_name
    slots = {}
    for field in message.fields:
        if field.name in own or field.name == "extra" or field.name.endswith("_raw"):
            continue
        twin = f"{field.name}_raw"
        oneof = field.containing_oneof
        rivals = () if oneof is None else tuple(f.name for f in oneof.fields if f is not field)
        slots[field.camelcase_name] = _Slot(
            name=field.name,
            read=_reader(field),
            twin=twin if twin in names else None,
            rivals=rivals,
        )
    if message.name == "Part":  # the contract has the level itself, Gemini an object round it
        whole = slots["mediaResolution"]
        slots["mediaResolution"] = _Slot(whole.name, _level(whole.read), None, ())
    return slots


def _level(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda v: read(v["level"]) if isinstance(v, dict) and [*v] == ["level"] else _UNFIT


def _reader(field: Field) -> Callable[[Any], Any]:
    one = _single(field)
    if not field.is_repeated:
        return one

    def many(value: Any) -> Any:
        if not isinstance(value, list) or not value:
            return _UNFIT
        items = [one(item) for item in value]
        return _UNFIT if any(item is _UNFIT for item in items) else items

    return many


def _single(field: Field) -> Callable[[Any], Any]:
    if field.enum_type is not None:
        words = numbers_by_word(field.enum_type)
        return lambda v: words.get(v, _UNFIT) if isinstance(v, str) else _UNFIT
    if field.message_type is not None:
        return _message(field.message_type)
    if field.type == Field.TYPE_BYTES:
        return _bytes
    fits = _FITS[field.type]
    if field.has_presence or field.is_repeated:
        return lambda v: v if fits(v) else _UNFIT
    return lambda v: v if v and fits(v) else _UNFIT  # zero could not be told from absent


def _message(message: Descriptor) -> Callable[[Any], Any]:
    if message.full_name == "google.protobuf.Struct":
        return lambda v: free(v) if isinstance(v, dict) else _UNFIT
    return lambda v: fields(message, v) if isinstance(v, dict) else _UNFIT


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_int32(value: Any) -> bool:
    return type(value) is int and -(2**31) <= value < 2**31


def _is_double(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _bytes(value: Any) -> Any:
    data = base64_bytes(value) if isinstance(value, str) and value else None
    return _UNFIT if data is None else data


_FITS: Mapping[int, Callable[[Any], bool]] = {
    Field.TYPE_STRING: _is_text,
    Field.TYPE_BOOL: _is_bool,
    Field.TYPE_INT32: _is_int32,
    Field.TYPE_DOUBLE: _is_double,
}
