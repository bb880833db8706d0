"""Pieces of an answer as keyword arguments of the contract's messages.

Arguments, not messages: a message is made once, at the outermost level, which costs half as much as
making each part and copying it into the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from gemini.backend.v1 import content_pb2 as pb
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.upstream.gemini import reading
from gemini_backend.upstream.gemini.names import FINISH_REASONS, MODALITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemini_backend.upstream.gemini import wire

M = TypeVar("M")
Fields = dict[str, Any]
"""Keyword arguments of a message."""


def make(message: type[M], **fields: Any) -> M:
    """Return a message; fields that are messages may be given as their arguments.

    Protobuf takes such a dict in place of a message; its type stubs do not know it.
    """
    return message(**fields)


def usage(found: wire.Usage) -> Fields:
    """Return a `Usage`."""
    return {
        "prompt_token_count": found.prompt_token_count,
        "candidates_token_count": found.candidates_token_count,
        "total_token_count": found.total_token_count,
        "thoughts_token_count": found.thoughts_token_count,
        "cached_content_token_count": found.cached_content_token_count,
        "tool_use_prompt_token_count": found.tool_use_prompt_token_count,
        "prompt_tokens_details": _counts(found.prompt_tokens_details),
        "candidates_tokens_details": _counts(found.candidates_tokens_details),
        "cache_tokens_details": _counts(found.cache_tokens_details),
        "tool_use_prompt_tokens_details": _counts(found.tool_use_prompt_tokens_details),
        "service_tier": found.service_tier,
        "traffic_type": found.traffic_type,
    }


def _counts(counts: list[wire.ModalityCount] | None) -> list[Fields] | None:
    if counts is None:
        return None
    return [
        {"modality": MODALITIES[count.modality], "token_count": count.token_count}
        if count.modality in MODALITIES
        else {"modality_raw": count.modality, "token_count": count.token_count}
        for count in counts
    ]


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
    fields: Fields = {"candidate_index": found.index, "parts": parts, "role": role}
    if found.finish_reason is not None:
        _put_finish(fields, found.finish_reason)
    return fields


def _put_finish(fields: Fields, word: str) -> None:
    number = FINISH_REASONS.get(word)
    if number is None:
        fields["finish_reason_raw"] = word
    else:
        fields["finish_reason"] = number


def _parts(parts: list[wire.Part]) -> list[Fields] | None:
    found = []
    for part in parts:
        fields: Fields = {"text": part.text, "thought": part.thought}
        if part.function_call is not None:
            if part.text is not None:
                return None
            call = part.function_call
            args = None if call.args is None else reading.free(call.args)
            fields["function_call"] = {"name": call.name, "id": call.id, "args": args}
        if part.thought_signature is not None:
            signature = reading.base64_bytes(part.thought_signature)
            if signature is None:
                return None
            fields["thought_signature"] = signature
        found.append(fields)
    return found


def plain_delta(found: Mapping[str, Any]) -> Fields:
    """Return a `Delta` from a candidate as plain JSON; all that has no place goes to `extra`."""
    rest = dict(found)
    content = rest.pop("content", None)
    index = rest.pop("index", None)
    fields = reading.fields(execute.Delta.DESCRIPTOR, rest)
    extra = fields.get("extra", {})
    if type(index) is int and -(2**31) <= index < 2**31:
        fields["candidate_index"] = index
    elif index is not None:
        extra["index"] = index
    if isinstance(content, dict):
        turn = reading.fields(pb.Content.DESCRIPTOR, content)
        fields["parts"], fields["role"] = turn.get("parts"), turn.get("role")
        if "extra" in turn or not turn:
            extra["content"] = turn.get("extra", {})
    elif content is not None:
        extra["content"] = content
    if extra:
        fields["extra"] = reading.free(extra)
    return fields


def candidate(found: Mapping[str, Any]) -> Fields:
    """Return the fields of a `Delta` as those of a `Candidate`, the content put together again."""
    fields = {k: v for k, v in found.items() if k in pb.Candidate.DESCRIPTOR.fields_by_name}
    fields["index"] = found.get("candidate_index")
    content: Fields = {k: found[k] for k in ("parts", "role") if found.get(k) is not None}
    extra = dict(found.get("extra", {}))
    kept = extra.pop("content", None)
    if isinstance(kept, dict):
        if kept:
            content["extra"] = kept
        fields["content"] = content
    elif kept is not None:
        extra["content"] = kept
    elif content:
        fields["content"] = content
    fields["extra"] = extra or None
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
