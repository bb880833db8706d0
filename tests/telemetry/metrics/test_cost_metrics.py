"""What everything costs, by the model that served it."""

from __future__ import annotations

import pytest

from gemini_backend.call import Work
from gemini_backend.telemetry.metrics.cost_metrics import CostMetrics
from tests.support.messages.events import ended, heard_by

KNOWN = {"models/a": "a", "a-001": "a", "models/b": "b"}


def test_costs_are_counted_by_the_model_that_served() -> None:
    """Whatever was asked for; what nobody knows has no price, what was shared costs nothing."""
    costs = CostMetrics(KNOWN.get)
    bus = heard_by(costs)
    for served in ("a-001", "models/a", "models/b", "models/nobody"):
        bus.publish(ended("models/x", served_model=served, cost_nano_usd=1000))
    bus.publish(ended("models/x", served_model="a-001", cost_nano_usd=1000, pays=False))
    bus.publish(ended("models/x", served_model="a-001"))
    (family,) = costs.families()
    assert {("a",): 2e-6, ("b",): 1e-6} == pytest.approx(family.values)
    assert 3000 == costs.cost_nano_usd


@pytest.mark.parametrize("work", [one for one in Work if one is not Work.CALL])
def test_whatever_is_paid_for_is_in_the_sum(work: Work) -> None:
    """Items, summaries and embeddings like executions; embeddings by the model asked for."""
    costs = CostMetrics(KNOWN.get)
    heard_by(costs).publish(ended("models/b", work=work, cost_nano_usd=7))
    assert 7 == costs.cost_nano_usd
