"""Attempts at the upstream: again, beside, elsewhere, with another key, or not at all."""

from __future__ import annotations

from gemini_backend.policies.attempts.wait_timeout import deadline_passed

__all__ = ["deadline_passed"]
