"""The keyword arguments of calls: fields of the messages that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from google.protobuf.duration_pb2 import Duration

    from gemini.backend.v1.content_pb2 import (
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
    from gemini_backend_client.messages.content import ContentLike

__all__ = ["CountFields", "EmbedFields", "ExecuteFields", "ProcessFields"]


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
