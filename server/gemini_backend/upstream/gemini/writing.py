"""Messages of the contract into Gemini's JSON, for any message.

A field is written under its name in camel case; `extra` is merged into the object of the message
that it belongs to. The few messages that Gemini nests in another way stand in `_SHAPES`.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from google.protobuf.descriptor import FieldDescriptor as Field

from gemini.backend.v1.content_pb2 import MediaResolution
from gemini_backend.errors import InvalidRequest, Violation
from gemini_backend.upstream.gemini.names import words_by_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message
    from google.protobuf.struct_pb2 import Struct, Value

    Put = Callable[[dict[str, Any], Any, str], None]

_WHOLE = 2.0**53  # below it a double holds every integer
_HUMP = re.compile(r"_([a-z0-9])")


def json_object(message: Message, path: str) -> dict[str, Any]:
    """Return the JSON object of a message; `path` says where in the request it stands.

    Raises:
        InvalidRequest: a field cannot be written: text that is no JSON, a number that is none, an
            enum value without a name, an `extra` that repeats a field.
    """
    puts = _puts(message.DESCRIPTOR)
    found: dict[str, Any] = {}
    extra = None
    for field, value in message.ListFields():
        put = puts.get(field.number)
        if put is None:
            extra = value
        else:
            put(found, value, path)
    if extra is not None:
        _merge(found, extra, path)
    return found


def camel(name: str) -> str:
    """Return a name in camel case."""
    return _HUMP.sub(lambda match: match[1].upper(), name)


def refuse(field: str, what: str, rule: str) -> InvalidRequest:
    """Return the error for one field."""
    return InvalidRequest(f"{field} {what}", violations=[Violation(field, what, rule)])


def plain_struct(struct: Struct, path: str) -> dict[str, Any]:
    """Return a Struct as a JSON object; whole numbers are written without a point."""
    return {key: plain_value(value, path) for key, value in struct.fields.items()}


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
            return [plain_value(item, path) for item in value.list_value.values]
    return None


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise refuse(path, "holds a number that JSON does not have (NaN or infinite)", "json")
    return int(value) if value.is_integer() and abs(value) <= _WHOLE else value


@cache
def _puts(message: Descriptor) -> dict[int, Put]:
    shapes = _SHAPES.get(message.name, {})
    return {
        field.number: shapes.get(field.name) or _put(field)
        for field in message.fields
        if field.name != "extra"
    }


def _put(field: Field) -> Put:
    name, key = field.name, field.camelcase_name
    if name.endswith("_json_schema_text"):
        return _put_schema_text(name, camel(name.removesuffix("_text")))
    if name.endswith("_raw"):
        return _put_plainly(camel(name.removesuffix("_raw")))
    write = _writer(field)
    if write is None:
        return _put_plainly(key)

    def put(found: dict[str, Any], value: Any, path: str) -> None:
        found[key] = write(value, f"{path}.{name}" if path else name)

    return put


def _put_plainly(key: str) -> Put:
    def put(found: dict[str, Any], value: Any, _path: str) -> None:
        found[key] = value

    return put


def _writer(field: Field) -> Callable[[Any, str], Any] | None:
    """Return what writes a field's value; None where the encoder does (bytes: base64)."""
    one = _single_writer(field)
    if not field.is_repeated:
        return one
    if one is None:
        return lambda values, _path: list(values)
    return lambda values, path: [one(v, f"{path}[{i}]") for i, v in enumerate(values)]


def _single_writer(field: Field) -> Callable[[Any, str], Any] | None:
    if field.message_type is not None:
        write: Callable[[Any, str], Any] = _MESSAGES.get(field.message_type.name, json_object)
        return write
    if field.enum_type is not None:
        return _word_writer(words_by_number(field.enum_type))
    if field.type == Field.TYPE_DOUBLE:
        return lambda value, path: value if math.isfinite(value) else _number(value, path)
    return None


def _word_writer(words: dict[int, str]) -> Callable[[int, str], str]:
    def write(value: int, path: str) -> str:
        word = words.get(value)
        if word is None:
            raise refuse(path, f"is {value}, a value without a name in this contract", "enum")
        return word

    return write


def _put_schema_text(name: str, key: str) -> Put:
    def put(found: dict[str, Any], text: str, path: str) -> None:
        where = f"{path}.{name}" if path else name
        try:
            msgspec.json.decode(text, type=dict[str, msgspec.Raw] | bool)
            msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise refuse(where, f"is no JSON Schema: {error}", "json") from None
        found[key] = msgspec.Raw(text.encode())

    return put


def _merge(found: dict[str, Any], extra: Struct, path: str) -> None:
    """Add what the contract has no name for."""
    where = f"{path}.extra" if path else "extra"
    for key, value in plain_struct(extra, where).items():
        if camel(key) in found:
            raise refuse(where, f"repeats {camel(key)}, which the message sets itself", "extra")
        found[key] = value


def _put_level(found: dict[str, Any], value: int, path: str) -> None:
    word = _LEVELS.get(value)
    if word is None:
        raise refuse(f"{path}.media_resolution", f"is {value}, which has no name", "enum")
    found["mediaResolution"] = {"level": word}


def _put_level_raw(found: dict[str, Any], value: str, _path: str) -> None:
    found["mediaResolution"] = {"level": value}


def _voice(name: str) -> dict[str, Any]:
    return {"prebuiltVoiceConfig": {"voiceName": name}}


def _put_voice(found: dict[str, Any], name: str, _path: str) -> None:
    found["voiceConfig"] = _voice(name)


def _put_speakers(found: dict[str, Any], voices: Any, _path: str) -> None:
    found["multiSpeakerVoiceConfig"] = {
        "speakerVoiceConfigs": [
            {"speaker": voice.speaker, "voiceConfig": _voice(voice.voice_name)} for voice in voices
        ]
    }


def _put_place(axis: str) -> Put:
    def put(found: dict[str, Any], degrees: float, path: str) -> None:
        if not math.isfinite(degrees):
            raise refuse(f"{path}.{axis}", "is no number of degrees", "json")
        found.setdefault("latLng", {})[axis] = degrees

    return put


_LEVELS = words_by_number(MediaResolution.DESCRIPTOR)
_SHAPES: dict[str, dict[str, Put]] = {
    "Part": {"media_resolution": _put_level, "media_resolution_raw": _put_level_raw},
    "SpeechConfig": {"voice_name": _put_voice, "speaker_voices": _put_speakers},
    "RetrievalConfig": {"latitude": _put_place("latitude"), "longitude": _put_place("longitude")},
}
_MESSAGES: dict[str, Callable[[Any, str], Any]] = {"Struct": plain_struct, "Value": plain_value}
