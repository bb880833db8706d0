"""Gemini's failures as typed errors."""

from __future__ import annotations

from gemini_backend.upstream.gemini.failure.classification import Failures

__all__ = ["Failures"]
