"""Single JSON values into values of protobuf fields, each only where nothing of it is lost."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf.descriptor import FieldDescriptor as Field
from google.protobuf.timestamp_pb2 import Timestamp

from gemini_backend.upstream.gemini.translation import base64_text, free_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNFIT: Final = object()
"""What a reader returns where the field cannot hold the value."""

_WHOLE = 2**53  # up to here a double holds every whole number
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_decode = msgspec.json.decode


def _value(text: msgspec.Raw) -> Any:
    try:
        return _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return UNFIT


def text(raw: msgspec.Raw) -> Any:
    """Read a string."""
    value = _value(raw)
    return value if isinstance(value, str) else UNFIT


def truth(raw: msgspec.Raw) -> Any:
    """Read true or false."""
    value = _value(raw)
    return value if isinstance(value, bool) else UNFIT


def int32(raw: msgspec.Raw) -> Any:
    """Read a whole number of 32 bits."""
    value = _value(raw)
    return value if type(value) is int and -(2**31) <= value < 2**31 else UNFIT


def double(raw: msgspec.Raw) -> Any:
    """Read a number; a whole one that a double would round is none."""
    value = _value(raw)
    if type(value) is int:
        return value if abs(value) <= _WHOLE else UNFIT
    return value if type(value) is float and math.isfinite(value) else UNFIT


def base64(raw: msgspec.Raw) -> Any:
    """Read bytes, as base64 in either alphabet."""
    value = text(raw)
    data = None if value is UNFIT or not value else base64_text.bytes_of(value)
    return UNFIT if data is None else data


def text_map(raw: msgspec.Raw) -> Any:
    """Read an object of strings."""
    value = _value(raw)
    if not isinstance(value, dict) or not value:
        return UNFIT
    return value if all(isinstance(item, str) for item in value.values()) else UNFIT


def duration(raw: msgspec.Raw) -> Any:
    """Read seconds with suffix, e.g. "1.5s"; the value is kept, not the number of its zeros."""
    value = text(raw)
    match = None if value is UNFIT else _DURATION.fullmatch(value)
    if match is None:
        return UNFIT
    sign = -1 if match[1] else 1
    nanos = int((match[3] or "").ljust(9, "0"))
    return {"seconds": sign * int(match[2]), "nanos": sign * nanos}


def timestamp(raw: msgspec.Raw) -> Any:
    """Read a moment in RFC 3339; the moment is kept, not its zone."""
    value = text(raw)
    found = Timestamp()
    try:
        found.FromJsonString("" if value is UNFIT else value)
    except (ValueError, OverflowError):
        return UNFIT
    return found


def struct(raw: msgspec.Raw) -> Any:
    """Read an object of any JSON."""
    found = free_json.struct_of(raw)
    return UNFIT if found is None else found


READERS: Mapping[int, Callable[[msgspec.Raw], Any]] = {
    Field.TYPE_STRING: text,
    Field.TYPE_BOOL: truth,
    Field.TYPE_INT32: int32,
    Field.TYPE_DOUBLE: double,
    Field.TYPE_BYTES: base64,
}
WELL_KNOWN: Mapping[str, Callable[[msgspec.Raw], Any]] = {
    "Struct": struct,
    "Value": lambda _raw: UNFIT,  # in requests only
    "Duration": duration,
    "Timestamp": timestamp,
}
