"""Schemas: whether one is valid, and values that fit it."""

from __future__ import annotations

from gemini_backend.upstream.simulator.schemas.schema_check import check_schema
from gemini_backend.upstream.simulator.schemas.schema_values import value_for

__all__ = ["check_schema", "value_for"]
