"""Free JSON of the contract as text, taken apart and put together with every digit. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.struct_pb2 import Struct

__all__ = ["fields_of", "merge", "of_struct", "put"]

_SCAN = json.JSONDecoder().raw_decode
_BLANKS = " \t\n\r"


def fields_of(text: str) -> dict[str, str]:
    """Return the fields of a JSON object, each as its own text.

    Raises:
        ValueError: the text is not that of an object.
    """
    found: dict[str, str] = {}
    at = _next(text, 0, "{")
    while text[at : at + 1] != "}":
        key, end = _SCAN(text, at)
        if not isinstance(key, str):
            msg = f"expected a name at {at}: the text is not that of a JSON object"
            raise ValueError(msg)  # noqa: TRY004 - as for any other text that is not JSON
        begin = _next(text, end, ":")
        _, end = _SCAN(text, begin)
        found[key] = text[begin:end]
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    return found


def put(message: Any, fields: Mapping[str, str], struct: Struct | None, name: str) -> None:
    """Make these fields, and their Struct where there is one, what a message has."""
    inside = ",".join(f"{json.dumps(key, ensure_ascii=False)}:{raw}" for key, raw in fields.items())
    setattr(message, f"{name}_json", "{" + inside + "}")
    if struct is None:
        message.ClearField(name)
    else:
        getattr(message, name).CopyFrom(struct)


def merge(message: Any, more: Any, name: str = "extra", more_name: str = "extra") -> None:
    """Add to the free JSON of a message that of another one, whose fields win."""
    if not _has(more, more_name):
        return
    if not _has(message, name):
        setattr(message, f"{name}_json", getattr(more, f"{more_name}_json"))
        if more.HasField(more_name):
            getattr(message, name).CopyFrom(getattr(more, more_name))
        return
    fields = {**_fields(message, name), **_fields(more, more_name)}
    struct = None
    if message.HasField(name) and more.HasField(more_name):
        struct = getattr(message, name)
        struct.MergeFrom(getattr(more, more_name))
    put(message, fields, struct, name)


def _has(message: Any, name: str) -> bool:
    return bool(getattr(message, f"{name}_json")) or message.HasField(name)


def _fields(message: Any, name: str) -> dict[str, str]:
    text = getattr(message, f"{name}_json")
    if text:
        return fields_of(text)
    return {k: json.dumps(v) for k, v in of_struct(getattr(message, name)).items()}


def of_struct(struct: Struct) -> dict[str, Any]:
    """Return a Struct as a mapping, whole numbers as `int`."""
    found: dict[str, Any] = _whole(MessageToDict(struct))
    return found


def _whole(value: Any) -> Any:
    """Return a value with its whole numbers as such: in a Struct every number has a fraction."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] in _BLANKS and at < len(text):
        at += 1
    return at


def _next(text: str, at: int, sign: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != sign:
        msg = f"expected {sign!r} at {at}: the text is not that of a JSON object"
        raise ValueError(msg)
    return _skip(text, at + 1)
