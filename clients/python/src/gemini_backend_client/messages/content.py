"""Turns, parts and tools out of plain Python values.

Wherever a client takes content, these will do:

* a string: text;
* a `Path`: a file sent inline, its media type guessed from its name;
* a pair `(data, mime_type)`: bytes sent inline;
* a `Part` or `Content` message, or a mapping of such a message's fields.

Parts in a row make one turn of the user's; a `Content` is a turn of its own.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from gemini.backend.v1.content_pb2 import (
    Blob,
    Content,
    FileData,
    FunctionCall,
    FunctionDeclaration,
    FunctionResponse,
    GenerationConfig,
    Part,
    Tool,
)
from gemini_backend_client.messages.exact import arguments, as_texts, object_text

__all__ = [
    "ContentLike",
    "PartLike",
    "arguments",
    "file",
    "function",
    "function_response",
    "json_answer",
    "media",
    "model_turn",
    "to_content",
    "to_contents",
    "to_part",
    "tool",
    "user_turn",
]

PartLike: TypeAlias = str | Path | tuple[bytes, str] | Part | Mapping[str, Any]
ContentLike: TypeAlias = PartLike | Content | Iterable[PartLike | Content]


def to_part(value: PartLike) -> Part:
    """Return `value` as a part.

    Raises:
        TypeError: for a value of another kind.
        ValueError: for a mapping with unknown fields, or a path whose media type is not known.
        OSError: when a file cannot be read.
    """
    match value:
        case Part():
            return value
        case str():
            return Part(text=value)
        case Path():
            return media(value)
        case (bytes() as data, str() as mime_type):
            return media(data, mime_type)
        case Mapping():
            return Part(**as_texts(Part.DESCRIPTOR, value))
    msg = (
        f"{type(value).__name__} is not valid content: give a str, a Path, a pair (bytes, media "
        "type), a Part, a Content, or a mapping of fields"
    )
    raise TypeError(msg)


def to_contents(value: ContentLike) -> list[Content]:
    """Return `value` as turns: parts in a row make one turn of the user's.

    Raises:
        TypeError, ValueError, OSError: as `to_part`.
    """
    turns: list[Content] = []
    row: list[PartLike] = []
    for item in _items(value):
        turn = _as_turn(item)
        if turn is None:
            row.append(item)  # type: ignore[arg-type] # no turn, so a part or to_part's TypeError
            continue
        if row:
            turns.append(user_turn(*row))
            row = []
        turns.append(turn)
    if row:
        turns.append(user_turn(*row))
    return turns


def to_content(value: ContentLike) -> Content:
    """Return `value` as one content without regard to roles, e.g. as a system instruction.

    Raises:
        TypeError, ValueError, OSError: as `to_part`.
    """
    parts = [part for turn in to_contents(value) for part in turn.parts]
    return Content(parts=parts)


def user_turn(*parts: PartLike) -> Content:
    """Return a turn of the user's."""
    return Content(role="user", parts=[to_part(part) for part in parts])


def model_turn(*parts: PartLike) -> Content:
    """Return a turn of the model's, e.g. from an earlier conversation."""
    return Content(role="model", parts=[to_part(part) for part in parts])


def media(data: bytes | str | Path, mime_type: str | None = None) -> Part:
    """Return bytes, or a file's bytes, as an inline part.

    Args:
        data: the bytes themselves, or the path of a file.
        mime_type: its media type, e.g. "image/png"; guessed from the path's name when not given.

    Raises:
        ValueError: when there is no media type and none can be guessed.
        OSError: when the file cannot be read.
    """
    if not isinstance(data, bytes):
        path = Path(data)
        mime_type = mime_type or mimetypes.guess_type(path.name)[0]
        data = path.read_bytes()
        if mime_type is None:
            msg = f"cannot derive the media type of {path.name!r} from its name: give mime_type"
            raise ValueError(msg)
    elif not mime_type:
        msg = "bytes need a media type: give mime_type, e.g. 'image/png'"
        raise ValueError(msg)
    return Part(inline_data=Blob(mime_type=mime_type, data=data))


def file(uri: str, mime_type: str = "") -> Part:
    """Return a file by its address: an uploaded one, a public page or video, or `gs://...`."""
    return Part(file_data=FileData(file_uri=uri, mime_type=mime_type))


def function(
    name: str, description: str, parameters: Mapping[str, Any] | None = None
) -> FunctionDeclaration:
    """Declare a function that the model may call.

    Args:
        name: its name.
        description: what it does, for the model to read.
        parameters: JSON Schema of its arguments, an object; `$ref`, unions and all reach the
            model unchanged, keys in their order. None for a function without arguments.
    """
    declaration = FunctionDeclaration(name=name, description=description)
    if parameters is not None:
        declaration.parameters_json_schema_text = json.dumps(parameters, ensure_ascii=False)
    return declaration


def tool(*functions: FunctionDeclaration) -> Tool:
    """Return a tool that offers these functions."""
    return Tool(function_declarations=functions)


def function_response(call: FunctionCall, result: object) -> Part:
    """Return the result of a function that the model asked for, matched to its call.

    Args:
        call: the call that is answered.
        result: what JSON can hold, whole numbers of any size; anything but a mapping is sent as
            `{"output": result}`.

    Raises:
        TypeError, ValueError: for what JSON cannot hold.
    """
    response: Any = result if isinstance(result, Mapping) else {"output": result}
    answer = FunctionResponse(name=call.name, response_json=object_text(response))
    if call.HasField("id"):
        answer.id = call.id
    return Part(function_response=answer)


def json_answer(schema: Mapping[str, Any], **config: Any) -> GenerationConfig:
    """Return a generation config for an answer in JSON.

    Args:
        schema: JSON Schema of the answer; the model writes keys in the order that it names them.
        config: further fields of `GenerationConfig`.
    """
    return GenerationConfig(
        response_mime_type="application/json",
        response_json_schema_text=json.dumps(schema, ensure_ascii=False),
        **config,
    )


def _items(value: object) -> Iterable[object]:
    if isinstance(value, str | Path | Part | Content | Mapping):
        return (value,)
    if isinstance(value, tuple) and any(isinstance(item, bytes) for item in value):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return value
    return (value,)


def _as_turn(item: object) -> Content | None:
    if isinstance(item, Content):
        return item
    if isinstance(item, Mapping) and ("parts" in item or "role" in item):
        fields = dict(item)
        parts = [to_part(part) for part in fields.pop("parts", ())]
        return Content(parts=parts, **as_texts(Content.DESCRIPTOR, fields))
    return None
