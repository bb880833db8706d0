"""The token bucket against a small exact model of it."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gemini_backend.policies.flow.token_bucket import TokenBucket

AMOUNTS = st.fractions(min_value=0, max_value=30, max_denominator=16)


class BucketMachine(RuleBasedStateMachine):
    """Does the same in fractions, which never round."""

    def __init__(self) -> None:
        super().__init__()
        self.now = Fraction(1000)
        self.capacity = self.level = Fraction(12)
        self.bucket = TokenBucket(12.0, 60.0, 1000.0)

    def put(self, amount: Fraction) -> None:
        self.level = min(self.capacity, self.level + amount)

    @rule(seconds=st.fractions(min_value=0, max_value=90, max_denominator=8))
    def wait(self, seconds: Fraction) -> None:
        self.now += seconds
        self.put(seconds * self.capacity / 60)

    @rule(amount=AMOUNTS)
    def reserve(self, amount: Fraction) -> None:
        self.level -= amount
        expected = max(Fraction(0), -self.level) * 60 / self.capacity
        told = self.bucket.reserve(float(amount), float(self.now))
        assert pytest.approx(float(expected), abs=1e-6) == told

    @rule(amount=AMOUNTS)
    def take(self, amount: Fraction) -> None:
        amount = min(amount, self.capacity)
        missing = amount - self.level
        if 0 < abs(missing) < Fraction(1, 10**6):
            return  # where the one rounds and the other does not
        told = self.bucket.take(float(amount), float(self.now))
        if missing > 0:
            assert pytest.approx(float(missing * 60 / self.capacity), abs=1e-6) == told
        elif missing < 0:
            assert told == 0
            self.level -= amount
        elif told == 0:  # just enough, unless something was rounded
            self.level -= amount

    @rule(amount=AMOUNTS)
    def refund(self, amount: Fraction) -> None:
        self.put(amount)
        self.bucket.refund(float(amount), float(self.now))

    @rule(reserved=AMOUNTS, real=AMOUNTS)
    def settle(self, reserved: Fraction, real: Fraction) -> None:
        self.put(reserved - real)
        self.bucket.settle(float(reserved), float(real), float(self.now))

    @rule(capacity=st.sampled_from([1, 6, 12, 100]))
    def resize(self, capacity: int) -> None:
        if capacity < self.capacity:
            self.level = self.level * capacity / self.capacity
        else:
            self.level += capacity - self.capacity
        self.capacity = Fraction(capacity)
        self.bucket.resize(float(capacity), float(self.now))

    @rule()
    def drain(self) -> None:
        self.level = min(Fraction(0), self.level)
        self.bucket.drain(float(self.now))

    @invariant()
    def agrees(self) -> None:
        assert pytest.approx(float(self.level), abs=1e-6) == self.bucket.level(float(self.now))


TestBucket = BucketMachine.TestCase
TestBucket.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_reservations_stand_in_line() -> None:
    """Each reservation waits behind those before it, so nobody overtakes."""
    bucket = TokenBucket(6, 60, 0)
    assert [0] * 6 == [bucket.reserve(1, 0) for _ in range(6)]
    assert [10, 20, 30] == [bucket.reserve(1, 0) for _ in range(3)]


def test_more_than_fits_in_can_be_had_when_it_is_full() -> None:
    """A request larger than the bucket takes all of it, rather than never being served."""
    bucket = TokenBucket(6, 60, 0)
    assert bucket.take(100, 0) == 0
    assert bucket.level(0) == 0


def test_a_smaller_capacity_makes_nobody_wait_longer() -> None:
    """What was spent at a high rate, or promised at it, does not shut a low one for long."""
    bucket = TokenBucket(1000, 60, 0)
    bucket.take(500, 0)
    bucket.resize(10, 0)
    assert 5 == bucket.level(0)
    bucket = TokenBucket(1000, 60, 0)
    assert 6 == bucket.reserve(1100, 0)
    bucket.resize(10, 0)
    assert pytest.approx(6 + 6) == bucket.reserve(1, 0)
