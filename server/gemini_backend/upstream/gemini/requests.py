"""Requests of the contract as the bodies that Gemini takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.upstream.gemini import writing

if TYPE_CHECKING:
    from gemini.backend.v1.execute_service_pb2 import CountTokensRequest, ExecuteRequest

_SENT = (
    "contents",
    "system_instruction",
    "generation_config",
    "tools",
    "tool_config",
    "safety_settings",
    "cached_content",
)
# what other layers look at must stand where they look; labels are for this server's own books
_NOT_BY_EXTRA = frozenset({writing.camel(name) for name in _SENT} | {"model", "prompt"})


def generate(request: ExecuteRequest) -> bytes:
    """Return the body of generateContent and streamGenerateContent.

    Raises:
        InvalidRequest: a field cannot be written as JSON.
    """
    body = _frame(request)
    if request.HasField("extra"):
        for key, value in writing.plain_struct(request.extra, "extra").items():
            if writing.camel(key) in _NOT_BY_EXTRA:
                raise writing.refuse("extra", f"holds {key}; set the field of that name", "extra")
            body[key] = value
    return msgspec.json.encode(body)


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
            writing.json_object(turn, f"contents[{i}]") for i, turn in enumerate(request.contents)
        ]
    for field, value in request.ListFields():
        name = field.name
        if name == "cached_content":
            body["cachedContent"] = value
        elif name in _SENT and name != "contents":
            body[writing.camel(name)] = (
                [writing.json_object(one, f"{name}[{i}]") for i, one in enumerate(value)]
                if field.is_repeated
                else writing.json_object(value, name)
            )
    return body
