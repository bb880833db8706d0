"""Function calls as the model itself writes them, which is what it is charged for.

Found out from counts of answers: exact for Gemini 3 on the Gemini API, within a few tokens for 2.5.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.json_format import MessageToDict

from gemini_backend.processing.tokens.model_generation import NEWEST

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct

    from gemini.backend.v1.content_pb2 import FunctionCall

# One token of the vocabulary that stands in for the model's own quotation mark.
_QUOTE = "<unused1>"


def as_written(call: FunctionCall, generation: float) -> str:
    """Return a call as a model of that generation writes it."""
    args = _args(call)
    if generation >= NEWEST:
        return f"call:default_api:{call.name}{_newest(args)}"
    shown = ", ".join(f"{name} = {_python(value)}" for name, value in args.items())
    return f"print(default_api.{call.name}({shown}))"


def _args(call: FunctionCall) -> Any:
    """Return the arguments, by their exact text where there is one that can be read."""
    if call.args_json:
        with suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(call.args_json, type=dict[str, Any])
    return MessageToDict(call.args)


def as_json(struct: Struct) -> str:
    """Return an object as JSON, whole numbers as such."""
    return msgspec.json.encode(_whole(MessageToDict(struct))).decode()


def _newest(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_newest(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_newest, value)) + "]"
    if isinstance(value, str):
        return f"{_QUOTE}{value}{_QUOTE}"
    return _json(value)


def _python(value: Any) -> str:
    if isinstance(value, dict):
        shown = (f"{_json(name)}: {_python(one)}" for name, one in value.items())
        return "{" + ", ".join(shown) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_python, value)) + "]"
    return str(value) if isinstance(value, bool) or value is None else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.encode(_whole(value)).decode()


def _whole(value: Any) -> Any:
    """Return a value with its whole numbers as such: in a Struct every number has a fraction."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
