"""What is checked or filled in before anything is sent: rules, deadline, model."""

from __future__ import annotations

from gemini_backend.policies.checks.validated_cache import SKETCHED_BYTES, ValidatedCache, sketch_of

__all__ = ["SKETCHED_BYTES", "ValidatedCache", "sketch_of"]
