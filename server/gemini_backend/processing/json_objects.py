"""JSON objects as text, taken apart and put together without a letter of any value changing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH: Final = 24
"""Most levels of objects and lists within each other that a Struct is made of: protobuf readers
stop at 100 levels of messages, and a level of JSON takes three of them."""

_LARGEST = 2**1000  # a double holds whole numbers up to here and beyond, rounded
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY = msgspec.json.Decoder(dict[str, Any])
_ENCODE = msgspec.json.Encoder().encode


def fields_of(text: str | bytes) -> dict[str, msgspec.Raw]:
    """Return the fields of a JSON object, each as its text; none where it is no object."""
    try:
        return _FIELDS.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}


def text_of(fields: Mapping[str, Any]) -> str:
    """Return the JSON object of these fields; a field that is `msgspec.Raw` stays as it is."""
    return _ENCODE(fields).decode()


def merged(text: str, more: str) -> str:
    """Return one object of two: what the second one names too, it names for both."""
    return text_of({**fields_of(text), **fields_of(more)})


def struct_of(text: str | bytes | msgspec.Raw) -> dict[str, Any] | None:
    """Return a JSON object as what a Struct takes; None where no Struct can hold it.

    Whole numbers beyond the range of a double become their digits as text.
    """
    try:
        found = _ANY.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return bearable(found)


def bearable(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return an object so that a Struct takes it; None where it nests deeper than MAX_DEPTH."""
    plain = _plain(value, MAX_DEPTH)
    if plain is None:
        return None
    if plain:
        return dict(value)
    result: dict[str, Any] = _written_out(value)
    return result


def _plain(value: Any, depth: int) -> bool | None:
    """Tell whether a value can stay as it is; None where it is too deep."""
    if isinstance(value, dict):
        inner: Any = value.values()
    elif isinstance(value, list):
        inner = value
    else:
        return not isinstance(value, int) or -_LARGEST < value < _LARGEST
    if depth == 0:
        return None
    plain: bool | None = True
    for item in inner:
        one = _plain(item, depth - 1)
        if one is None:
            return None
        plain = plain and one
    return plain


def _written_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _written_out(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_written_out(item) for item in value]
    return value if _plain(value, 0) else str(value)
