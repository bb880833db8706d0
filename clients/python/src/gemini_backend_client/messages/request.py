"""Requests out of keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

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

__all__ = ["build", "embed_request"]

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

    Raises:
        TypeError: when both forms are mixed, or content is of no known kind.
        ValueError: for fields that the message does not have.
    """
    if request is not None:
        if content is not None or fields:
            msg = "give either a complete request, or content and fields to create one"
            raise TypeError(msg)
        return request
    values: _Fields = dict(fields)
    if isinstance(content, str):
        values["prompt"] = content
    elif content is not None:
        values["contents"] = to_contents(content)
    if "system_instruction" in values:
        values["system_instruction"] = to_content(values["system_instruction"])
    return kind(**as_texts(kind.DESCRIPTOR, values))
