"""Seconds as protobuf messages have them."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.durations import duration_of, put_seconds, seconds_of, timestamp_of


@given(st.integers(0, 10**15))
def test_seconds_come_back_as_they_were(micros: int) -> None:
    """What is exact to the microsecond is the same there and back."""
    seconds = micros / 1e6
    assert seconds == pytest.approx(seconds_of(duration_of(seconds)), abs=1e-6)
    moment = timestamp_of(seconds)
    assert micros == moment.ToMicroseconds()


@pytest.mark.parametrize(
    ("seconds", "duration"),
    [
        (0.0, Duration()),
        (1.5, Duration(seconds=1, nanos=500_000_000)),
        (0.999_999_999_9, Duration(seconds=1)),
        (-1.0, Duration()),
    ],
)
def test_lengths(seconds: float, duration: Duration) -> None:
    """A length is rounded to the nanosecond, and is never negative."""
    assert duration == duration_of(seconds)


def test_a_moment_has_no_digits_that_a_float_makes_up() -> None:
    """Seconds since the epoch are exact to the microsecond; what is beyond it is noise."""
    assert Timestamp(seconds=1_800_000_000, nanos=123_456_000) == timestamp_of(1_800_000_000.123456)


def test_none_stays_none() -> None:
    """What is not known leaves its field unset."""
    assert (None, None) == (duration_of(None), timestamp_of(None))


def test_a_length_is_set_in_place() -> None:
    """What the field held before is gone."""
    duration = Duration(seconds=7, nanos=7)
    put_seconds(duration, 2.25)
    assert Duration(seconds=2, nanos=250_000_000) == duration
