"""Gemini's JSON with one text in every field that an upstream can send."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as pb

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

_DEPTH = 6


def planted(message: Descriptor, text: str, depth: int = _DEPTH) -> dict[str, Any]:
    """Return Gemini's JSON of a message with the text in every field, and in one of no name."""
    found: dict[str, Any] = {f"unknown{text}": [{text: text}]}
    for field in message.fields:
        twin = field.name.endswith(("_raw", "_json")) or field.name == "extra"
        value = None if twin else _value(field, text, depth)
        if value is not None:
            found[field.camelcase_name] = [value] if _is_list(field) else value
    return found


def _is_list(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return field.is_repeated and not (kind is not None and kind.GetOptions().map_entry)


def _value(field: FieldDescriptor, text: str, depth: int) -> Any:
    kind = field.message_type
    if kind is None:
        if field.type == field.TYPE_BYTES:
            return base64.b64encode(text.encode()).decode()
        return text if field.enum_type or field.type == field.TYPE_STRING else None
    if kind.GetOptions().map_entry or kind.name == "Struct":
        return {text: text}
    if kind.file.package == "google.protobuf" or depth == 0:
        return text
    return planted(kind, text, depth - 1)


def answer(text: str) -> dict[str, Any]:
    """Return a whole answer with the text in every field but its parts."""
    candidate = planted(pb.Candidate.DESCRIPTOR, text)
    content = {"role": text, f"unknown{text}": text, "parts": [{"text": "hi"}]}
    del candidate["logprobsResult"]  # tokens of the answer
    return {
        "candidates": [{**candidate, "content": content, "finishReason": "STOP"}],
        "usageMetadata": planted(pb.Usage.DESCRIPTOR, text),
        "promptFeedback": planted(pb.PromptFeedback.DESCRIPTOR, text),
        "modelStatus": planted(pb.ModelStatus.DESCRIPTOR, text),
        "modelVersion": text,
        "responseId": text,
        "createTime": text,
        f"unknown{text}": {text: text},
    }
