"""JSON that has no types in the contract: as a Struct, and as the text that it came as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from gemini_backend.errors import MalformedAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DEPTH: Final = 24
"""Most levels of objects and lists within each other that a Struct is made of: protobuf readers
stop at 100 levels of messages, and a level of JSON takes three of them."""

_ENCODE = msgspec.json.Encoder().encode


def free(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object so that a `google.protobuf.Struct` takes it.

    Whole numbers beyond the range of a double become their digits as text.

    Raises:
        MalformedAnswer: it nests deeper than MAX_DEPTH.
    """
    if _plain(value, MAX_DEPTH):
        return dict(value)
    result: dict[str, Any] = _freed(value)
    return result


def struct_of(text: bytes | msgspec.Raw) -> dict[str, Any] | None:
    """Return the text of a JSON object as what a Struct takes; None where no Struct can hold it."""
    try:
        return free(msgspec.json.decode(text, type=dict[str, Any]))
    except (msgspec.DecodeError, RecursionError, MalformedAnswer):
        return None


def object_text(fields: Mapping[str, msgspec.Raw]) -> str:
    """Return a JSON object of these fields, each to the letter."""
    return _ENCODE(fields).decode()


def extra_of(fields: Mapping[str, msgspec.Raw], name: str = "extra") -> dict[str, Any]:
    """Return `extra` and its exact twin as keyword arguments; the first only where it fits."""
    if not fields:
        return {}
    text = object_text(fields)
    found: dict[str, Any] = {f"{name}_json": text}
    struct = struct_of(text.encode())
    if struct is not None:
        found[name] = struct
    return found


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
