"""What a running server has measured of a model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Availability(Enum):
    """Whether a model answers at present."""

    UNKNOWN = "no executions so far"
    AVAILABLE = "it answers"
    DEGRADED = "it answers, with failures"
    UNAVAILABLE = "it does not answer"


@dataclass(frozen=True, slots=True)
class Measured:
    """The last minutes of a model's executions; times are seconds, None without any.

    `thoughts` are the tokens of thoughts of an answer, on the average.
    """

    availability: Availability = Availability.UNKNOWN
    first_token_p50: float | None = None
    first_token_p95: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None
    tokens_per_second: float | None = None
    thoughts: float | None = None
    error_ratio: float | None = None
    samples: int = 0


NOTHING = Measured()
