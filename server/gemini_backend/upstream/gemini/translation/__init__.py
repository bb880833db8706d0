"""Gemini's JSON and the contract's messages, one into the other, without losing anything."""

from __future__ import annotations

from gemini_backend.upstream.gemini.translation import (
    base64_text,
    free_json,
    json_to_proto,
    json_values,
    later,
    proto_fields,
    proto_to_json,
    scalars,
    wire,
)
from gemini_backend.upstream.gemini.translation.json_values import ROUNDED, refuse
from gemini_backend.upstream.gemini.translation.names import (
    MODALITIES,
    SERVICE_TIERS,
    TRAFFIC_TYPES,
    camel,
    words_by_number,
)
from gemini_backend.upstream.gemini.translation.proto_fields import Fields

__all__ = [
    "MODALITIES",
    "ROUNDED",
    "SERVICE_TIERS",
    "TRAFFIC_TYPES",
    "Fields",
    "base64_text",
    "camel",
    "free_json",
    "json_to_proto",
    "json_values",
    "later",
    "proto_fields",
    "proto_to_json",
    "refuse",
    "scalars",
    "wire",
    "words_by_number",
]
