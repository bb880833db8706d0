"""Free JSON of the contract: a Struct, and beside it the text with every digit. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.struct_pb2 import Struct

    from gemini.backend.v1.content_pb2 import FunctionCall, ToolCall

__all__ = ["arguments", "as_texts", "fields_of", "merge", "object_text", "put"]

_SCAN = json.JSONDecoder().raw_decode
_BLANKS = " \t\n\r"
_FREE = frozenset({"google.protobuf.Struct", "google.protobuf.Value"})


def arguments(call: FunctionCall | ToolCall) -> dict[str, Any]:
    """Return the arguments of a call, whole numbers as `int` with all their digits."""
    if call.args_json:
        found: dict[str, Any] = json.loads(call.args_json)
        return found
    return _of_struct(call.args)


def object_text(value: Mapping[str, Any]) -> str:
    """Return an object as JSON text, keys in their order.

    Raises:
        TypeError: for what JSON cannot hold.
        ValueError: for numbers that JSON does not have.
    """
    return json.dumps(dict(value), ensure_ascii=False, allow_nan=False)


def as_texts(message: Descriptor, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message's fields with free JSON in them as text, which keeps digits and order."""
    found: dict[str, Any] = {}
    for name, value in fields.items():
        field = message.fields_by_name.get(name)
        kind = None if field is None else field.message_type
        if field is None or kind is None:
            found[name] = value
        elif kind.full_name in _FREE:
            twin = _twin(message, name)
            taken = twin if isinstance(value, Mapping) and twin and twin not in fields else ""
            found[taken or name] = object_text(value) if taken else value
        else:
            found[name] = _inner(field, kind, value)
    return found


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
    return {k: json.dumps(v) for k, v in _of_struct(getattr(message, name)).items()}


def _twin(message: Descriptor, name: str) -> str:
    names = (f"{name}_json", f"{name}_text")
    return next((one for one in names if one in message.fields_by_name), "")


def _inner(field: FieldDescriptor, kind: Descriptor, value: Any) -> Any:
    if kind.GetOptions().map_entry:
        return value
    if field.is_repeated:
        return [as_texts(kind, one) if isinstance(one, Mapping) else one for one in value]
    return as_texts(kind, value) if isinstance(value, Mapping) else value


def _of_struct(struct: Struct) -> dict[str, Any]:
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
