"""Seconds as protobuf messages have them, and back."""

from __future__ import annotations

from typing import overload

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

_NANOS = 1_000_000_000
_MICROS = 1_000_000
_SHORT = 0.999_999  # less than a second, however it is rounded


@overload
def duration_of(seconds: float) -> Duration: ...
@overload
def duration_of(seconds: float | None) -> Duration | None: ...
def duration_of(seconds: float | None) -> Duration | None:
    """Return a length of time, a negative one as 0; None for None, which leaves a field unset."""
    if seconds is None:
        return None
    duration = Duration()
    put_seconds(duration, seconds)
    return duration


def put_seconds(duration: Duration, seconds: float) -> None:
    """Set a length of time in place, a negative one to 0; cheaper than to copy one there."""
    if 0.0 <= seconds < _SHORT:  # as nearly all are, and a division of whole numbers is dear
        duration.seconds, duration.nanos = 0, int(seconds * _NANOS + 0.5)
    else:
        duration.seconds, duration.nanos = divmod(max(0, int(seconds * _NANOS + 0.5)), _NANOS)


@overload
def timestamp_of(seconds: float) -> Timestamp: ...
@overload
def timestamp_of(seconds: float | None) -> Timestamp | None: ...
def timestamp_of(seconds: float | None) -> Timestamp | None:
    """Return a moment, from seconds since the epoch; None for None, which leaves a field unset.

    It is exact to the microsecond, as a float of seconds is.
    """
    if seconds is None:
        return None
    whole, micros = divmod(round(seconds * _MICROS), _MICROS)
    return Timestamp(seconds=whole, nanos=micros * 1000)


def seconds_of(duration: Duration) -> float:
    """Return a length of time in seconds."""
    return float(duration.seconds + duration.nanos / _NANOS)
