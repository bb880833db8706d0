"""What an execution reports: numbered events, timing, usage and cost."""

from __future__ import annotations

from gemini_backend.policies.outcome.attempt_report import put_attempts
from gemini_backend.policies.outcome.end_report import end_in
from gemini_backend.policies.outcome.pricing import tier_of
from gemini_backend.policies.outcome.usage_sums import (
    add_cost,
    add_counts,
    known_of,
    sum_of,
    used_so_far,
)

__all__ = [
    "add_cost",
    "add_counts",
    "end_in",
    "known_of",
    "put_attempts",
    "sum_of",
    "tier_of",
    "used_so_far",
]
