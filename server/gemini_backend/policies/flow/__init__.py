"""How much goes out at once: slots, quotas, limits."""

from __future__ import annotations

from gemini_backend.policies.flow.model_quota import UNSAID_SECONDS
from gemini_backend.policies.flow.sliding_window import SlidingCounts

__all__ = ["UNSAID_SECONDS", "SlidingCounts"]
