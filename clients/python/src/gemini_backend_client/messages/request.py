"""Requests out of keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from gemini.backend.v1.execute_service_pb2 import (
    CountTokensRequest,
    EmbedRequest,
    EmbedTaskType,
    ExecuteRequest,
    ProcessRequest,
)
from gemini_backend_client.messages.content import to_content, to_contents
from gemini_backend_client.messages.exact import as_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gemini.backend.v1.content_pb2 import Content
    from gemini_backend_client.messages.content import ContentLike
    from gemini_backend_client.messages.fields import EmbedFields

__all__ = ["build", "embed_request", "new_request_id", "with_request_id"]

_Request = TypeVar("_Request", ExecuteRequest, ProcessRequest, CountTokensRequest)
_Fields = dict[str, Any]


def embed_request(contents: Iterable[Content], fields: EmbedFields) -> EmbedRequest:
    """Return a request for vectors; a task that the contract has no value for goes as text."""
    others: dict[str, Any] = dict(fields)
    task = str(others.pop("task_type", ""))
    built = EmbedRequest(contents=contents, **as_texts(EmbedRequest.DESCRIPTOR, others))
    name = f"EMBED_TASK_TYPE_{task.removeprefix('EMBED_TASK_TYPE_')}"
    if name in EmbedTaskType.DESCRIPTOR.values_by_name:
        built.task_type = EmbedTaskType.Value(name)
    else:
        built.task_type_raw = task
    return built


def build(
    kind: type[_Request],
    content: ContentLike | None,
    request: _Request | None,
    fields: Mapping[str, object],
) -> _Request:
    """Return the request to send: `request` as it is, or one made of `content` and `fields`.

    A turn of a session without an id is given one (`with_request_id`).

    Raises:
        TypeError: when both forms are mixed, or content is of no known kind.
        ValueError: for fields that the message does not have.
    """
    if request is not None:
        if content is not None or fields:
            msg = "give either a complete request, or content and fields to create one"
            raise TypeError(msg)
        return with_request_id(request)
    values: _Fields = dict(fields)
    if isinstance(content, str):
        values["prompt"] = content
    elif content is not None:
        values["contents"] = to_contents(content)
    if "system_instruction" in values:
        values["system_instruction"] = to_content(values["system_instruction"])
    built = kind(**as_texts(kind.DESCRIPTOR, values))
    if _is_turn_without_id(built):
        cast("Any", built).request_id = new_request_id()
    return built


def with_request_id(request: _Request) -> _Request:
    """Return the request; a turn of a session without an id as a copy that has one.

    By its id the server knows a turn that is sent again, so that it may be.
    """
    if not _is_turn_without_id(request):
        return request
    copy = type(request)()
    copy.CopyFrom(request)
    cast("Any", copy).request_id = new_request_id()
    return copy


def _is_turn_without_id(request: ExecuteRequest | ProcessRequest | CountTokensRequest) -> bool:
    if isinstance(request, CountTokensRequest):
        return False
    return bool(request.session) and not request.request_id


def new_request_id() -> str:
    """Return an id that no other request has."""
    return uuid4().hex
