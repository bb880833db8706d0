"""Pieces of an answer as keyword arguments of the contract's messages.

Arguments, not messages: a message is made once, at the outermost level, which costs half as much as
making each part and copying it into the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from gemini.backend.v1 import content_pb2 as pb
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend import masking
from gemini_backend.upstream.gemini.translation import (
    base64_text,
    free_json,
    json_to_proto,
    scalars,
)
from gemini_backend.upstream.gemini.translation.names import FINISH_REASONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemini_backend.upstream.gemini.translation import wire

M = TypeVar("M")
Fields = dict[str, Any]
"""Keyword arguments of a message."""

_MODEL = "model"
_NULL = msgspec.Raw(b"null")


def make(message: type[M], **fields: Any) -> M:
    """Return a message; fields that are messages may be given as their arguments.

    Protobuf takes such a dict in place of a message; its type stubs do not know it.
    """
    return message(**fields)


def delta(found: wire.Candidate) -> Fields | None:
    """Return a `Delta`; None where the plain way must be taken to lose nothing."""
    parts: list[Fields] | None = None
    role: str | None = None
    if found.content is not None:
        role = found.content.role
        if found.content.parts is not None:
            parts = _parts(found.content.parts)
        if parts is None and role is None:
            return None
        if parts is None and found.content.parts is not None:
            return None
        if role is not None and role != _MODEL:
            role = masking.text(role)
    fields: Fields = {"candidate_index": found.index, "parts": parts, "role": role}
    if found.continuation_token is not None:
        token = base64_text.bytes_of(found.continuation_token)
        if token is None:
            return None
        fields["continuation_token"] = masking.data(token)
    if found.finish_reason is not None:
        fields.update(finish(found.finish_reason))
    return fields


def number(deltas: list[Fields]) -> None:
    """Number the candidates of a whole answer by their places where none of several has an index.

    Otherwise all of them would be candidate 0, and their texts one text once they are kept as
    events. Events of a stream are left as they are: the next one may have an index, or fewer
    candidates, and a candidate that was made up would never end.
    """
    if len(deltas) > 1 and all(one.get("candidate_index") is None for one in deltas):
        for place, one in enumerate(deltas):
            one["candidate_index"] = place


def finish(word: str) -> Fields:
    """Return the field of a `Delta` that a finish reason is."""
    number = FINISH_REASONS.get(word)
    if number is None:
        return {"finish_reason_raw": masking.text(word)}
    return {"finish_reason": number}


def _parts(parts: list[wire.Part]) -> list[Fields] | None:
    found = []
    for part in parts:
        fields: Fields = {"text": part.text, "thought": part.thought}
        if part.function_call is not None:
            if part.text is not None:
                return None
            call = _call(part.function_call)
            if call is None:
                return None
            fields["function_call"] = call
        if part.thought_signature is not None:
            signature = base64_text.bytes_of(part.thought_signature)
            if signature is None:
                return None
            fields["thought_signature"] = signature
        found.append(fields)
    return found


def _call(found: wire.FunctionCall) -> Fields | None:
    """Return a `FunctionCall`; None where the plain way must be taken to lose nothing."""
    call: Fields = {"name": found.name, "id": found.id}
    text = bytes(found.args)
    if not text or text == b"null":
        return call
    if not text.startswith(b"{"):
        return None
    try:
        call["args_json"] = text.decode()
    except UnicodeDecodeError:
        return None
    call["args"] = free_json.struct_of(text)
    return call


def plain_delta(text: json_to_proto.Json) -> Fields:
    """Return a `Delta` from a candidate's text; all that has no place goes to `extra`."""
    rest = json_to_proto.object_of(text)
    content = rest.pop("content", _NULL)
    index = rest.pop("index", _NULL)
    fields = json_to_proto.fields(execute.Delta.DESCRIPTOR, rest)
    extra = json_to_proto.object_of(fields.pop("extra_json", "{}").encode())
    fields.pop("extra", None)
    number = scalars.int32(index)
    if number is not scalars.UNFIT:
        fields["candidate_index"] = number
    elif bytes(index) != b"null":
        extra["index"] = index
    if json_to_proto.is_object(content):
        turn = json_to_proto.fields(pb.Content.DESCRIPTOR, content)
        fields["parts"], fields["role"] = turn.get("parts"), turn.get("role")
        if "extra_json" in turn or not turn:
            extra["content"] = msgspec.Raw(turn.get("extra_json", "{}").encode())
    elif bytes(content) != b"null":
        extra["content"] = content
    fields.update(free_json.extra_of(extra))
    return fields


def candidate(found: Mapping[str, Any]) -> Fields:
    """Return the fields of a `Delta` as those of a `Candidate`, the content put together again."""
    fields = {k: v for k, v in found.items() if k in pb.Candidate.DESCRIPTOR.fields_by_name}
    fields["index"] = found.get("candidate_index")
    content: Fields = {k: found[k] for k in ("parts", "role") if found.get(k) is not None}
    text = fields.pop("extra_json", None)
    if text is not None:
        fields.pop("extra", None)
        extra = json_to_proto.object_of(text.encode())
        kept = extra.pop("content", None)
        if kept is not None and json_to_proto.is_object(kept):
            if bytes(kept) != b"{}":
                content.update(free_json.extra_of(json_to_proto.object_of(kept)))
            fields["content"] = content
        elif kept is not None:
            extra["content"] = kept
        fields.update(free_json.extra_of(extra))
    if content:
        fields.setdefault("content", content)
    return fields


def says(parts: Iterable[Mapping[str, Any]] | None) -> tuple[bool, bool]:
    """Tell whether parts hold anything at all, and whether that is more than thoughts."""
    anything = False
    for part in parts or ():
        text = part.get("text")
        if text is None:
            if any(value is not None and key not in _NO_DATA for key, value in part.items()):
                return True, True
        elif text:
            anything = True
            if not part.get("thought"):
                return True, True
    return anything, False


_NO_DATA = frozenset({"text", "thought", "thought_signature"})
