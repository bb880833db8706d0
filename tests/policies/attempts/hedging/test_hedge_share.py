"""Attempts beyond the first are a share of the calls of the last ten seconds."""

from __future__ import annotations

import pytest

from gemini_backend.policies.attempts.hedging.hedge_share import WINDOW_SECONDS, HedgeShare


def spent(budget: HedgeShare, now: float, ratio: float, least: float = 0.0) -> int:
    """Return how many further attempts a budget allows at a time."""
    count = 0
    while budget.spend(now, ratio, least):
        count += 1
    return count


@pytest.mark.parametrize(
    ("calls", "ratio", "least", "expected"),
    [(10, 0.2, 0.0, 2), (9, 0.2, 0.0, 1), (0, 5.0, 0.0, 0), (0, 0.0, 0.1, 1), (10, 0.2, 0.3, 5)],
)
def test_calls_earn_a_share_beside_what_there_always_is(
    calls: int, ratio: float, least: float, expected: int
) -> None:
    """So many for each call, and so many a second whatever the calls are; never a part of one."""
    budget = HedgeShare()
    for _ in range(calls):
        budget.call(100.0)
    assert expected == spent(budget, 100.0, ratio, least)


def test_what_was_spent_and_earned_is_forgotten_with_its_window() -> None:
    """Ten seconds later neither calls nor attempts count; shortly before, both do."""
    budget = HedgeShare()
    assert 10.0 == WINDOW_SECONDS
    budget.call(0.5)
    assert 1 == spent(budget, 0.5, 1.0)
    assert 0 == spent(budget, 8.5, 1.0)
    assert 0 == spent(budget, 20.5, 1.0)
    budget.call(20.5)
    assert 1 == spent(budget, 20.5, 1.0)
