"""Counts, sums and percentiles, and how they are exported."""

from __future__ import annotations

from gemini_backend.telemetry.metrics.metrics import Metrics
from gemini_backend.telemetry.metrics.series import OK

__all__ = ["OK", "Metrics"]
