"""Requests out of keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from gemini.backend.v1.execute_service_pb2 import (
    CountTokensRequest,
    EmbedRequest,
    EmbedTaskType,
    ExecuteRequest,
    ProcessRequest,
)
from gemini_backend_client.content import to_content, to_contents
from gemini_backend_client.exact import as_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from google.protobuf.duration_pb2 import Duration

    from gemini.backend.v1.content_pb2 import (
        Content,
        GenerationConfig,
        SafetySetting,
        ServiceTier,
        Tool,
        ToolConfig,
    )
    from gemini.backend.v1.execute_service_pb2 import (
        CacheControl,
        ContinuationMode,
        Fallback,
        GenerationOutputConfig,
        ModelArmorConfig,
        OnDisconnect,
        Priority,
        Resume,
        Sanitization,
        TokenCounting,
        Truncation,
    )
    from gemini_backend_client.content import ContentLike

__all__ = ["CountFields", "EmbedFields", "ExecuteFields", "ProcessFields", "build"]

_Request = TypeVar("_Request", ExecuteRequest, ProcessRequest, CountTokensRequest)
_Fields = dict[str, Any]


class _SharedFields(TypedDict, total=False):
    """What a conversation is made of beside its turns; unset fields keep the server's defaults.

    Messages may be given as mappings of their fields, enum values by their names.
    """

    model: str
    system_instruction: ContentLike
    generation_config: GenerationConfig | Mapping[str, Any]
    tools: Iterable[Tool | Mapping[str, Any]]
    tool_config: ToolConfig | Mapping[str, Any]


class CountFields(_SharedFields, total=False):
    """Fields of `CountTokensRequest`, where each is described."""

    counting: TokenCounting.ValueType | str
    cached_content: str
    safety_settings: Iterable[SafetySetting | Mapping[str, Any]]
    session: str
    extra: Mapping[str, Any]
    extra_json: str


class ProcessFields(_SharedFields, total=False):
    """Fields of `ProcessRequest`, where each is described."""

    safety_settings: Iterable[SafetySetting | Mapping[str, Any]]
    cached_content: str
    session: str
    priority: Priority.ValueType | str
    cache_control: CacheControl | Mapping[str, Any]
    fallback: Fallback | Mapping[str, Any]
    truncation: Truncation.ValueType | str
    sanitization: Sanitization | Mapping[str, Any]
    first_token_timeout: Duration | timedelta
    idle_timeout: Duration | timedelta
    max_cost_nano_usd: int
    labels: Mapping[str, str]
    request_id: str
    on_disconnect: OnDisconnect | Mapping[str, Any]
    continuation_token: bytes
    continuation_mode: ContinuationMode.ValueType | str
    service_tier: ServiceTier.ValueType | str
    service_tier_raw: str
    max_event_bytes: int
    store: bool
    model_armor_config: ModelArmorConfig | Mapping[str, Any]
    output_config: GenerationOutputConfig | Mapping[str, Any]
    extra: Mapping[str, Any]
    extra_json: str


class ExecuteFields(ProcessFields, total=False):
    """Fields of `ExecuteRequest`, where each is described."""

    resume: Resume | Mapping[str, Any]


class EmbedFields(TypedDict, total=False):
    """Fields of `EmbedRequest`, where each is described."""

    model: str
    task_type: str
    title: str
    output_dimensionality: int
    mime_type: str
    auto_truncate: bool
    document_ocr: bool
    audio_track_extraction: bool
    priority: Priority.ValueType | str
    labels: Mapping[str, str]
    extra: Mapping[str, Any]
    extra_json: str


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
            msg = "give either a whole request, or content and fields to make one of"
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
