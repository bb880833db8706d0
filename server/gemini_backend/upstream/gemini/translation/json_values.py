"""Values of the contract that are any JSON, or well-known types, as Gemini's JSON has them."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.errors import InvalidRequest, Violation
from gemini_backend.upstream.gemini.translation.later import LATER, put_off

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.struct_pb2 import Struct, Value
    from google.protobuf.timestamp_pb2 import Timestamp

_WHOLE = 2.0**53  # below it a double holds every integer
_DIGITS = 1e21  # up to here whole numbers are written as digits, as most writers of JSON do
_NANOS = 9
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

ROUNDED: ContextVar[list[str] | None] = ContextVar("gemini_rounded_numbers", default=None)
"""Where the paths are noted of whole numbers that a Struct may have rounded; None for nowhere."""


def refuse(field: str, what: str, rule: str) -> InvalidRequest:
    """Return the error for one field."""
    return InvalidRequest(f"{field} {what}", violations=[Violation(field, what, rule)])


def plain_struct(struct: Struct, path: str) -> dict[str, Any]:
    """Return a Struct as a JSON object; whole numbers are written without a point.

    It is empty, and filled later, where the request is translated in slices.
    """
    if LATER.get() is None:
        return {key: plain_value(value, f"{path}.{key}") for key, value in struct.fields.items()}
    found: dict[str, Any] = {}
    put_off(lambda: put_fields(found, struct, path))
    return found


def put_fields(
    found: dict[str, Any], struct: Struct, path: str, check: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Put the fields of a Struct into a JSON object, one after the other.

    Raises:
        InvalidRequest: a value cannot be written; or what `check` raises for its key.
    """
    for key, value in struct.fields.items():
        if check is not None:
            check(key)
        found[key] = plain_value(value, f"{path}.{key}")
        yield


def plain_list(values: Sequence[Any], path: str, one: Callable[[Any, str], Any]) -> list[Any]:
    """Return values as a JSON array, each as `one` writes it; filled later like a Struct."""
    if LATER.get() is None:
        return [one(value, f"{path}[{i}]") for i, value in enumerate(values)]
    found: list[Any] = []

    def fill() -> Iterator[None]:
        for i, value in enumerate(values):
            found.append(one(value, f"{path}[{i}]"))
            yield

    put_off(fill)
    return found


def plain_value(value: Value, path: str) -> Any:
    """Return a Value as JSON."""
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            return _number(value.number_value, path)
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return plain_struct(value.struct_value, path)
        case "list_value":
            return plain_list(value.list_value.values, path, plain_value)
    return None


def double(value: float, path: str) -> float:
    """Return a number that JSON has.

    Raises:
        InvalidRequest: it is NaN or infinite.
    """
    if not math.isfinite(value):
        raise refuse(path, "contains a number that JSON does not support (NaN or infinite)", "json")
    return value


def _number(value: float, path: str) -> float:
    if not double(value, path).is_integer():
        return value
    if abs(value) > _WHOLE:
        rounded = ROUNDED.get()
        if rounded is not None:
            rounded.append(path)
    return int(value) if abs(value) < _DIGITS else value


def object_items(text: str, path: str) -> dict[str, msgspec.Raw]:
    """Return the fields of a JSON object, each as its text, which is known to be JSON.

    Raises:
        InvalidRequest: the text is not that of a JSON object.
    """
    try:
        items = _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise refuse(path, f"is not the text of a JSON object: {error}", "json") from None
    return items


def object_text(text: str, path: str) -> msgspec.Raw:
    """Return the text of a JSON object, to be written exactly as it is.

    Raises:
        InvalidRequest: it is none.
    """
    object_items(text, path)
    return msgspec.Raw(text.encode())


def schema_text(text: str, path: str) -> msgspec.Raw:
    """Return the text of a schema, an object or true or false, to be written exactly as it is.

    Raises:
        InvalidRequest: it is none.
    """
    try:
        msgspec.json.decode(text, type=dict[str, msgspec.Raw] | bool)
    except (msgspec.DecodeError, RecursionError) as error:
        raise refuse(path, f"is not a JSON Schema: {error}", "json") from None
    return msgspec.Raw(text.encode())


def _duration(value: Duration, _path: str) -> str:
    sign = "-" if value.seconds < 0 or value.nanos < 0 else ""
    parts = f"{abs(value.nanos):0{_NANOS}d}".rstrip("0")
    return f"{sign}{abs(value.seconds)}{'.' + parts if parts else ''}s"


def _timestamp(value: Timestamp, path: str) -> str:
    try:
        return value.ToJsonString()
    except ValueError as error:
        raise refuse(path, f"is not a timestamp: {error}", "timestamp") from None


WELL_KNOWN: Mapping[str, Callable[[Any, str], Any]] = {
    "google.protobuf.Struct": plain_struct,
    "google.protobuf.Value": plain_value,
    "google.protobuf.Duration": _duration,
    "google.protobuf.Timestamp": _timestamp,
}
