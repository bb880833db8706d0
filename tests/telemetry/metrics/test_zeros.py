"""Counters are there, at 0, before anything has happened."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.telemetry.metrics.cost_metrics import CostMetrics
from gemini_backend.telemetry.metrics.listeners.change_counts import ChangeCounts
from gemini_backend.telemetry.metrics.listeners.session_counts import OPERATIONS, SessionCounts
from gemini_backend.telemetry.metrics.metrics import CODES, REASONS, Metrics
from gemini_backend.telemetry.metrics.zeros import MOST_MODELS, outcomes, outcomes_of, with_zeros
from tests.support.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_backend.telemetry.metrics.metric_families import Family

EXECUTE = "/gemini.backend.v1.ExecuteService/Execute"
GET = "/gemini.backend.v1.SessionService/GetSession"
STORES = Path(__file__).parents[3] / "server/gemini_backend/stores"


def metrics(*models: str) -> Metrics:
    """Return metrics of two methods, to which these models are named; every model is known."""
    methods = {EXECUTE: True, GET: False}
    return Metrics(FakeClock(), methods, lambda _: True, named_models=lambda: models)


def family(families: Iterable[Family], name: str) -> Family:
    """Return the one of this name."""
    (found,) = [one for one in families if one.name == name]
    return found


def test_every_outcome_is_one_that_metrics_count() -> None:
    """Codes and reasons are those of the contract; nothing would be counted as another."""
    assert set() == {code for code, _ in outcomes()} - CODES
    assert set() == {reason for _, reason in outcomes() if reason} - REASONS
    assert {("OK", ""), ("CANCELLED", ""), ("RESOURCE_EXHAUSTED", "UPSTREAM_THROTTLED")} <= set(
        outcomes()
    )


def test_a_method_has_the_reasons_that_it_can_have() -> None:
    """Only what asks a model fails for a model's reasons."""
    assert outcomes() == tuple(outcomes_of(EXECUTE))
    others = {reason for _, reason in outcomes_of(GET)}
    assert {"", "CALLER_UNKNOWN_RESOURCE", "BACKEND_STORE_UNAVAILABLE"} <= others
    assert set() == {one for one in others if one.startswith(("UPSTREAM_", "POLICY_"))}


def test_what_was_counted_stands() -> None:
    """Zeros fill only what is missing."""
    assert {("a",): 3, ("b",): 0} == with_zeros({("a",): 3}, [("a",), ("b",)])


def test_calls_and_executions_start_at_0() -> None:
    """Each method, and each model that the configuration names, with each way to end."""
    families = list(metrics("models/a").families())
    rpcs = family(families, "rpcs").values
    assert 0 == rpcs[EXECUTE, "UNAVAILABLE", "UPSTREAM_UNAVAILABLE"]
    assert 0 == rpcs[GET, "OK", ""]
    executions = family(families, "executions").values
    assert {("a", *outcome): 0 for outcome in outcomes()} == executions
    assert 5 == len(family(families, "tokens").values)


def test_models_that_start_at_0_are_bounded() -> None:
    """There may be hundreds of models; beyond the bound they appear with their first count."""
    many = [f"m{number}" for number in range(MOST_MODELS + 5)]
    assert many[:MOST_MODELS] == metrics(*many).first_models()


def test_an_unknown_model_has_no_row_before_its_first_call() -> None:
    """The label of all that is unknown appears only when something is counted."""
    unknown = Metrics(FakeClock(), {}, lambda _: False, named_models=lambda: ("a",))
    assert [] == unknown.first_models()


def test_circuits_and_costs_start_at_0() -> None:
    """Each state of each model; costs of models whose price is known."""
    changes = ChangeCounts(str, lambda: ["a"])
    states = family(changes.families(), "circuit_changes").values
    assert {("a", "closed"): 0, ("a", "open"): 0, ("a", "half_open"): 0} == states
    costs = CostMetrics({"a": "a-1"}.get, lambda: ["a", "b"])
    assert {("a-1",): 0} == family(costs.families(), "cost_usd").values


def test_operations_of_the_store_start_at_0() -> None:
    """Every operation that the store does is one of the closed set."""
    failures = family(SessionCounts().families(), "session_store_failures").values
    assert {(one,): 0 for one in OPERATIONS} == failures
    text = "".join(file.read_text() for file in STORES.glob("*sqlite*.py"))
    assert set(OPERATIONS) >= set(re.findall(r'\.run\(\s*"(\w+)"', text))
