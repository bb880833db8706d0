"""Seconds as the contract's messages have them, and back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS = 1_000_000_000


def duration_of(seconds: float) -> Duration:
    """Return a length of time; a negative one counts as none."""
    whole, nanos = divmod(max(0, round(seconds * _NANOS)), _NANOS)
    return Duration(seconds=whole, nanos=nanos)


def timestamp_of(seconds: float | None) -> Timestamp | None:
    """Return a moment, from seconds since the epoch; None for None, which leaves a field unset."""
    if seconds is None:
        return None
    whole, nanos = divmod(round(seconds * _NANOS), _NANOS)
    return Timestamp(seconds=whole, nanos=nanos)


def seconds_of(duration: Duration) -> float:
    """Return a length of time in seconds."""
    return float(duration.seconds + duration.nanos / _NANOS)
