"""Answers that are kept: what makes two requests the same, and an answer given again."""

from __future__ import annotations

from gemini_backend.policies.cache.key import is_deterministic, run_key, sliced_run_key

__all__ = ["is_deterministic", "run_key", "sliced_run_key"]
