"""Gemini's failures as typed errors, with every key masked."""

from __future__ import annotations

from gemini_backend.upstream.gemini.failure.classification import Failures

__all__ = ["Failures"]
