"""What is checked or filled in before anything is sent: rules, deadline, model."""

from __future__ import annotations

from gemini_backend.policies.checks.validated_cache import ValidatedCache, sketch_of

__all__ = ["ValidatedCache", "sketch_of"]
