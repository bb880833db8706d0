"""A clock that jumps and comes back has never jumped."""

from __future__ import annotations

import pytest

from gemini_backend.wall_clock import (
    CONFIRM_SECONDS,
    TOLERANCE_SECONDS,
    WallClock,
    seconds_since_boot,
)

START = 1_800_000_000.0
MONTH = 30 * 86_400.0


class Times:
    """The time of day, which may jump, and a clock that never does."""

    def __init__(self) -> None:
        self.off = 0.0
        self.steady = 1000.0

    def wall(self) -> float:
        """Return the time of day."""
        return START + self.steady - 1000.0 + self.off

    def boot(self) -> float:
        """Return the steady time."""
        return self.steady


@pytest.fixture
def times() -> Times:
    """Return the times, at the start."""
    return Times()


@pytest.fixture
def trusted(times: Times) -> WallClock:
    """Return a clock that is trusted; 10 minutes have passed."""
    clock = WallClock(times.wall, times.boot)
    assert not clock.trusted()
    times.steady += CONFIRM_SECONDS
    assert clock.trusted()
    return clock


@pytest.mark.parametrize("jump", [MONTH, -MONTH, 3600, -60])
def test_a_jump_of_some_minutes_is_not_followed(
    times: Times, trusted: WallClock, jump: float
) -> None:
    """The time goes on as it would without the jump, and is trusted again once it is over."""
    expected = times.wall()
    times.off = jump
    for passed in (0, 3, CONFIRM_SECONDS - 1):
        times.steady = 1000.0 + CONFIRM_SECONDS + passed
        assert expected + passed == trusted()
        assert not trusted.trusted()
    times.off = 0
    assert (times.wall(), True, True) == (trusted(), trusted.trusted(), trusted.jumped)


def test_a_jump_that_lasts_is_followed(times: Times, trusted: WallClock) -> None:
    """After 10 minutes it is the time, and trusted at once."""
    times.off = MONTH
    trusted()
    times.steady += CONFIRM_SECONDS
    assert (times.wall(), True) == (trusted(), trusted.trusted())


def test_a_second_jump_counts_anew(times: Times, trusted: WallClock) -> None:
    """The time after a jump has to hold by itself."""
    expected = times.wall()
    times.off = MONTH
    trusted()
    times.steady += CONFIRM_SECONDS - 1
    times.off = 2 * MONTH
    assert expected + CONFIRM_SECONDS - 1 == trusted()
    times.steady += CONFIRM_SECONDS - 1
    assert not trusted.trusted()
    times.steady += 1
    assert (times.wall(), True) == (trusted(), trusted.trusted())


def test_before_it_is_trusted_each_jump_is_followed(times: Times) -> None:
    """A clock that is set right soon after the start is followed, and trusted later."""
    clock = WallClock(times.wall, times.boot)
    times.steady += CONFIRM_SECONDS - 1
    times.off = -MONTH
    assert (times.wall(), False) == (clock(), clock.trusted())
    times.steady += CONFIRM_SECONDS - 1
    assert not clock.trusted()
    times.steady += 1
    assert clock.trusted()


def test_a_clock_that_is_set_slowly_is_followed(times: Times, trusted: WallClock) -> None:
    """Small steps, however many, are no jump."""
    for _ in range(100):
        times.steady += 60
        times.off += TOLERANCE_SECONDS
        assert (times.wall(), True) == (trusted(), trusted.trusted())
    assert not trusted.jumped


def test_the_steady_clock_goes_on() -> None:
    """It is in seconds, and never goes back."""
    first = seconds_since_boot()
    assert 0 <= seconds_since_boot() - first < 60
