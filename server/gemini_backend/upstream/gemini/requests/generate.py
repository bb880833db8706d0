"""Requests of the contract as the bodies that Gemini takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.upstream.gemini.translation import ROUNDED, camel, proto_to_json, refuse

if TYPE_CHECKING:
    from gemini.backend.v1.execute_service_pb2 import CountTokensRequest, ExecuteRequest

# what this service has for itself; every other field of a request is Gemini's
_OURS = frozenset(
    {"prompt", "model", "session", "priority", "cache_control", "fallback", "truncation"}
    | {"sanitization", "first_token_timeout", "idle_timeout", "max_cost_nano_usd", "labels"}
    | {"request_id", "on_disconnect", "resume", "continuation_mode", "max_event_bytes"}
    | {"counting", "extra", "extra_json"}
)
# what other layers look at must stand where they look; labels are for this server's own books
_NOT_BY_EXTRA = frozenset(
    {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig"}
    | {"safetySettings", "cachedContent", "model", "prompt", "continuationToken"}
)


def generate(request: ExecuteRequest, rounded: list[str] | None = None) -> bytes:
    """Return the body of generateContent and streamGenerateContent.

    Args:
        request: What is asked.
        rounded: Takes the paths of whole numbers beyond 2^53, which a Struct may have rounded.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    token = ROUNDED.set(rounded)
    try:
        return msgspec.json.encode(_frame(request))
    finally:
        ROUNDED.reset(token)


def count_tokens(request: CountTokensRequest) -> bytes:
    """Return the body of countTokens.

    Gemini counts plain contents as they are, and anything beyond them only in the form of a whole
    request that names its model.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    body = _frame(request)
    if body.keys() - {"contents"}:
        body = {"generateContentRequest": {"model": request.model, **body}}
    return msgspec.json.encode(body)


def _frame(request: ExecuteRequest | CountTokensRequest) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if request.prompt:
        body["contents"] = [{"role": "user", "parts": [{"text": request.prompt}]}]
    else:
        body["contents"] = [
            proto_to_json.json_object(turn, f"contents[{i}]")
            for i, turn in enumerate(request.contents)
        ]
    body |= proto_to_json.json_object(request, "", leave_out=_OURS | {"contents"})
    more: dict[str, Any] = {}
    proto_to_json.merge_extra(more, request, "")
    for key, value in more.items():
        if camel(key) in _NOT_BY_EXTRA or camel(key) in body:
            raise refuse("extra", f"contains {key}; set the field of that name instead", "extra")
        body[key] = value
    return body
