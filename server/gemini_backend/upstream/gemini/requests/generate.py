"""Requests of the contract as the bodies that Gemini takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.upstream.gemini.translation import (
    ROUNDED,
    camel,
    later,
    proto_to_json,
    refuse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini.backend.v1.execute_service_pb2 import CountTokensRequest, ExecuteRequest

# what this service has for itself; every other field of a request is Gemini's
_OURS = frozenset(
    {"prompt", "model", "session", "priority", "cache_control", "fallback", "truncation"}
    | {"sanitization", "first_token_timeout", "idle_timeout", "max_cost_nano_usd", "labels"}
    | {"request_id", "on_disconnect", "resume", "continuation_mode", "max_event_bytes"}
    | {"counting"}
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
        return msgspec.json.encode(frame(request))
    finally:
        ROUNDED.reset(token)


def count_tokens(request: CountTokensRequest) -> bytes:
    """Return the body of countTokens.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    return msgspec.json.encode(count_frame(request, frame(request)))


def count_frame(request: CountTokensRequest, body: dict[str, Any]) -> dict[str, Any]:
    """Return what countTokens takes: contents as they are, all else in a whole request.

    Gemini counts plain contents as they are, and anything beyond them only in the form of a whole
    request that names its model.
    """
    if body.keys() - {"contents"}:
        return {"generateContentRequest": {"model": request.model, **body}}
    return body


def frame(request: ExecuteRequest | CountTokensRequest) -> dict[str, Any]:
    """Return the JSON of a request, without its model.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    contents: list[Any] = []
    body: dict[str, Any] = {"contents": contents}
    extra = proto_to_json.put_fields(body, request, "", _OURS)
    if body["contents"] is contents:  # there are none
        later.put_off(lambda: _put_prompt(contents, request))
    if not extra:
        return body

    def check(key: str) -> None:
        if camel(key) in _NOT_BY_EXTRA or camel(key) in body:
            raise refuse("extra", f"contains {key}; set the field of that name instead", "extra")

    proto_to_json.merge_extra(body, request, "", check)
    return body


def _put_prompt(
    contents: list[Any], request: ExecuteRequest | CountTokensRequest
) -> Iterator[None]:
    prompt = request.prompt  # read once: each time it is made anew
    if prompt:
        contents.append({"role": "user", "parts": [{"text": prompt}]})
    yield
