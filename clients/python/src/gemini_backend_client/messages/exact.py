"""Free JSON of the contract: a Struct, and beside it the text with every digit. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gemini_backend_client.messages.texts import of_struct

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from gemini.backend.v1.content_pb2 import FunctionCall, ToolCall

__all__ = ["arguments", "as_texts", "object_text"]

_FREE = frozenset({"google.protobuf.Struct", "google.protobuf.Value"})


def arguments(call: FunctionCall | ToolCall) -> dict[str, Any]:
    """Return the arguments of a call, whole numbers as `int` with all their digits."""
    if call.args_json:
        found: dict[str, Any] = json.loads(call.args_json)
        return found
    return of_struct(call.args)


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


def _twin(message: Descriptor, name: str) -> str:
    names = (f"{name}_json", f"{name}_text")
    return next((one for one in names if one in message.fields_by_name), "")


def _inner(field: FieldDescriptor, kind: Descriptor, value: Any) -> Any:
    if kind.GetOptions().map_entry:
        return value
    if field.is_repeated:
        return [as_texts(kind, one) if isinstance(one, Mapping) else one for one in value]
    return as_texts(kind, value) if isinstance(value, Mapping) else value
