"""Calls that waited for the same moment go out one after the other, not all at once."""

from __future__ import annotations

import math

# What is assumed where nothing is known: so many calls in the first second, twice as many in each
# further one. Where the quota can be told from what was accepted, a quarter more in each period.
_FIRST_RATE = 5.0
_FIRST_GROWTH = 2.0
_GROWTH = 1.25
_LEAST_SECONDS = 1.0
# From so many times the first rate on nothing is held back any more.
_FREE_FROM = 16.0
_MOST_PERIODS = 40.0


class Pace:
    """Times by which calls go out after a throttle: slots on a curve that rises.

    A slot is a place in the line and a time; slots that nobody took in time are lost, so calls
    never catch up in a burst. With a known limit the rate is constant, and the pace ends when the
    line is empty: then a bucket goes on. Else the rate grows until it holds nobody back.
    """

    __slots__ = ("_active", "_begins", "_growth", "_period", "_rate", "_taken")

    def __init__(self) -> None:
        """Hold nobody back."""
        self._active = False
        self._begins = 0.0
        self._rate = self._period = self._growth = 1.0
        self._taken = 0

    @property
    def is_on(self) -> bool:
        """Whether it holds calls back."""
        return self._active

    def begin_known(self, at: float, per_second: float) -> None:
        """Let calls go out at a constant rate, from a time on."""
        self._begin(at, per_second, 1.0, 1.0)

    def begin_unknown(self, at: float, accepted: int, seconds: float) -> None:
        """Let calls go out from a time on, at a rate that grows.

        It begins with what was accepted of late: so many within so many seconds; with little where
        nothing was.
        """
        seconds = max(seconds, _LEAST_SECONDS)
        if accepted > 0:
            self._begin(at, accepted / seconds, seconds, _GROWTH)
        else:
            self._begin(at, _FIRST_RATE, 1.0, _FIRST_GROWTH)

    def take(self, now: float) -> float:
        """Take the next slot; return the seconds until it."""
        wait = self.ahead(now)
        if self._active:
            self._taken += 1
        return wait

    def ahead(self, now: float, others: int = 0) -> float:
        """Return the seconds until the next slot, behind so many others, without taking it."""
        if not self._active:
            return 0.0
        since = now - self._begins
        if since > 0:
            passed = self._passed(since)
            if self._taken <= passed and self._is_over(since):
                self._active = False
                return 0.0
            self._taken = max(self._taken, math.ceil(passed))
        return max(0.0, self._begins + self._offset(self._taken + others) - now)

    def give_back(self) -> None:
        """Give the slot back that was taken last."""
        self._taken = max(0, self._taken - 1)

    def _begin(self, at: float, rate: float, period: float, growth: float) -> None:
        self._active = True
        self._begins, self._taken = at, 0
        self._rate, self._period, self._growth = rate, period, growth

    def _offset(self, number: int) -> float:
        """Return how long after the beginning a slot is."""
        if self._growth == 1:
            return number / self._rate
        steep = math.log(self._growth) / self._period
        return math.log1p(number * steep / self._rate) / steep

    def _passed(self, since: float) -> float:
        """Return how many slots have passed after so many seconds."""
        if self._growth == 1:
            return since * self._rate
        steep = math.log(self._growth) / self._period
        return self._rate / steep * math.expm1(min(since * steep, _MOST_PERIODS))

    def _is_over(self, since: float) -> bool:
        if self._growth == 1:
            return True
        return since / self._period * math.log(self._growth) > math.log(_FREE_FROM)
