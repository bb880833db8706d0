"""Counting, percentiles, bounds, and what Prometheus gets.

Covers: telemetry/metrics/digest.py, telemetry/metrics/exposition.py,
telemetry/metrics/metric_families.py, telemetry/metrics/series.py,
telemetry/metrics/snapshots.py, telemetry/metrics/traffic.py
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from gemini.backend.v1.content_pb2 import Usage
from gemini_backend.call import Work
from gemini_backend.errors import Throttled
from gemini_backend.telemetry.events import Bus, ModelResolved
from gemini_backend.telemetry.metrics.metric_families import Family, Sum
from gemini_backend.telemetry.metrics.metrics import (
    CODES,
    MAX_MODELS,
    OTHER,
    REASONS,
    Metrics,
)
from gemini_backend.telemetry.metrics.series import CANCELLED, OK, Histogram, Series
from gemini_backend.telemetry.metrics.snapshots import Latency, Tokens
from tests.support.messages.events import answered, arrived, begun, ended, heard_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

EXECUTE = "/gemini.backend.v1.ExecuteService/Execute"
PROCESS = "/gemini.backend.v1.ExecuteService/Process"
USAGE = Usage(
    prompt_token_count=10,
    cached_content_token_count=4,
    candidates_token_count=5,
    thoughts_token_count=3,
    tool_use_prompt_token_count=2,
    total_token_count=20,
)


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        """Begin at a time that is no multiple of anything."""
        self.time = 1003.0

    def now(self) -> float:
        """Return the time."""
        return self.time

    async def sleep(self, seconds: float) -> None:
        """Move on at once."""
        self.time += seconds

    def timeout(self, seconds: float | None) -> Any:
        """Never needed here.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError


@pytest.fixture
def clock() -> HandClock:
    """A clock that is moved by hand."""
    return HandClock()


@pytest.fixture
def metrics(clock: HandClock) -> Metrics:
    """Metrics of two methods and the models a and b."""
    methods = {EXECUTE: True, PROCESS: False}
    return Metrics(clock, methods, {"a", "b"}.__contains__, wall=lambda: clock.time + 1e9)


@pytest.fixture
def bus(metrics: Metrics) -> Bus:
    """A bus to which the metrics listen."""
    return heard_by(metrics)


def _families(metrics: Metrics) -> dict[str, Metric]:
    text = metrics.exposition().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_calls_are_counted_by_how_they_end(metrics: Metrics, bus: Bus) -> None:
    """A call is a success, a failure with its reason, or cancelled."""
    for code, reason in (
        ("OK", ""),
        ("CANCELLED", "CALLER_CANCELLED"),
        ("RESOURCE_EXHAUSTED", "UPSTREAM_THROTTLED"),
        ("RESOURCE_EXHAUSTED", "UPSTREAM_THROTTLED"),
        ("INTERNAL", "BACKEND_UNEXPECTED"),
    ):
        bus.publish(arrived(EXECUTE))
        bus.publish(answered(EXECUTE, code, reason, 0.1))
    ((name, stats),) = metrics.performance().methods
    assert name == EXECUTE
    assert (stats.counts.total, stats.counts.succeeded) == (5, 1)
    assert (stats.counts.failed, stats.counts.cancelled) == (3, 1)
    assert stats.errors == (("UPSTREAM_THROTTLED", 2), ("BACKEND_UNEXPECTED", 1))


def test_in_flight_follows_start_and_end(metrics: Metrics, bus: Bus) -> None:
    """What has started and not ended is in flight; only streaming answers are open streams."""
    bus.publish(arrived(EXECUTE))
    bus.publish(arrived(PROCESS))
    bus.publish(begun("one"))
    bus.publish(ModelResolved("one", "models/a"))
    bus.publish(begun("two"))
    bus.publish(ModelResolved("two", "models/nobody-knows"))
    assert (metrics.rpcs_in_flight, metrics.open_streams) == (2, 1)
    assert metrics.executions_in_flight == 2
    assert metrics.running_by_model() == {"a": 1, OTHER: 1}
    bus.publish(answered(EXECUTE, "OK", "", 1.0))
    assert (metrics.rpcs_in_flight, metrics.open_streams) == (1, 0)


def test_model_set_later_counts_when_looked_at(metrics: Metrics, bus: Bus) -> None:
    """The model of a running execution is the one it has when somebody looks."""
    bus.publish(begun("one"))
    ((name, _),) = metrics.performance().models
    assert name == OTHER
    bus.publish(ModelResolved("one", "models/b"))
    ((name, stats),) = metrics.performance().models
    assert (name, stats.in_flight) == ("b", 1)


def test_percentiles_of_executions(metrics: Metrics, bus: Bus) -> None:
    """Percentiles are those of the window, within two per cent."""
    for index in range(1, 1001):
        bus.publish(ended(seconds=index / 100, first_token_seconds=index / 1000))
    stats = metrics.performance().executions
    assert stats.latency.count == 1000
    for share, seen in (
        (0.5, stats.latency.p50),
        (0.9, stats.latency.p90),
        (0.95, stats.latency.p95),
        (0.99, stats.latency.p99),
        (1.0, stats.latency.max),
    ):
        assert pytest.approx(10 * share, rel=0.02) == seen
    assert pytest.approx(5.005) == stats.latency.mean
    assert pytest.approx(0.5, rel=0.02) == stats.first_token.p50


def test_tokens_are_added_up(metrics: Metrics, bus: Bus, clock: HandClock) -> None:
    """Tokens are added by kind; cached ones are counted once in the total."""
    bus.publish(ended(usage=USAGE))
    bus.publish(ended("models/b", usage=USAGE))
    clock.time += 1
    performance = metrics.performance()
    assert performance.executions.tokens == Tokens(20, 8, 10, 6, 4)
    assert performance.executions.tokens.total == 40
    assert performance.since_start.tokens.total == 40
    assert metrics.rates().tokens == pytest.approx(40.0)


def test_old_slots_fall_out_of_the_window(metrics: Metrics, bus: Bus, clock: HandClock) -> None:
    """What is older than the window is not in it, and still counts since the start."""
    bus.publish(ended())
    clock.time += 200
    bus.publish(ended())
    assert metrics.performance(300).executions.counts.total == 2
    assert metrics.performance(60).executions.counts.total == 1
    clock.time += 1000
    performance = metrics.performance(300)
    assert performance.executions.counts.total == 0
    assert performance.executions.latency == Latency()
    assert performance.since_start.counts.total == 2


def test_window_covers_at_least_what_was_asked(metrics: Metrics, clock: HandClock) -> None:
    """A window is rounded up to whole slots, and never begins before the start."""
    clock.time += 100
    performance = metrics.performance(60)
    assert 60 <= performance.end - performance.start <= 65
    young = Metrics(clock, {}, lambda _: True)
    clock.time += 2
    performance = young.performance(60)
    assert performance.end - performance.start == pytest.approx(2)


def test_rates_are_per_second(metrics: Metrics, bus: Bus, clock: HandClock) -> None:
    """A rate is what ended, by the seconds that the window covers; a cancel is no error."""
    for _ in range(10):
        bus.publish(arrived(EXECUTE))
        bus.publish(answered(EXECUTE, "OK", "", 0.1))
    bus.publish(ended(error=Throttled("wait")))
    bus.publish(ended(cancelled=True))
    clock.time += 10
    rates = metrics.rates()
    assert (rates.rpcs, rates.executions, rates.errors) == pytest.approx((1.0, 0.2, 0.1))


def test_one_model_can_be_asked_for(metrics: Metrics, bus: Bus) -> None:
    """With a model, figures are its own, by full or short name, and there are no methods."""
    bus.publish(ended("models/a"))
    bus.publish(ended("models/b", error=Throttled("wait")))
    for name in ("b", "models/b"):
        performance = metrics.performance(60, name)
        assert performance.executions.errors == (("UPSTREAM_THROTTLED", 1),)
        assert [model for model, _ in performance.models] == ["b"]
        assert performance.methods == ()


def test_busiest_come_first(metrics: Metrics, bus: Bus) -> None:
    """Models are ordered by how many executions they had."""
    for model in ("a", "b", "b"):
        bus.publish(ended(f"models/{model}"))
    assert [name for name, _ in metrics.performance().models] == ["b", "a"]


def test_labels_come_from_closed_sets(metrics: Metrics, bus: Bus) -> None:
    """Names that nobody knows share one label, however many there are."""
    before = sum(len(family.samples) for family in _families(metrics).values())
    for index in range(1000):
        bus.publish(arrived(f"/nobody/Knows{index}"))
        bus.publish(answered(f"/nobody/Knows{index}", f"CODE{index}", f"REASON{index}", 0.1))
        bus.publish(ended(f"models/nope-{index}", error=Throttled("wait")))
    assert set(metrics.methods) == {OTHER}
    assert set(metrics.models) == {OTHER}
    assert metrics.rpcs_in_flight == 0
    families = _families(metrics)
    samples = [sample for family in families.values() for sample in family.samples]
    assert len(samples) - before < 120
    for sample in samples:
        assert sample.labels.get("code", "OK") in CODES
        assert sample.labels.get("reason") in {None, "", OTHER, *REASONS}


def test_models_that_answer_are_known_but_bounded(metrics: Metrics, bus: Bus) -> None:
    """A model that answered gets a label of its own, until there are too many."""
    for index in range(MAX_MODELS * 2):
        bus.publish(ended(f"new-{index}"))
    assert "new-0" in metrics.models
    assert len(metrics.models) <= MAX_MODELS + 1
    assert OTHER in metrics.models


def test_names_follow_the_rules(metrics: Metrics, bus: Bus) -> None:
    """Names have the prefix, are lower case, and measures end in their unit."""
    bus.publish(arrived(EXECUTE))
    bus.publish(answered(EXECUTE, "OK", "", 0.1))
    bus.publish(ended(first_token_seconds=0.1, usage=USAGE))
    counted = ("_in_flight", "_streams", "_sessions", "_fds", "_info", "_build")
    for name, family in _families(metrics).items():
        assert re.fullmatch(r"gemini_backend_[a-z]+(_[a-z]+)*", name), name
        assert family.documentation.endswith("."), name
        if family.type != "counter":
            assert name.endswith(("_seconds", "_bytes", *counted)), name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total"), sample.name


def test_exposition_agrees_with_the_figures(metrics: Metrics, bus: Bus) -> None:
    """Prometheus is told the same numbers as everybody else."""
    bus.publish(ended(seconds=0.3, first_token_seconds=0.02, usage=USAGE))
    bus.publish(ended(seconds=700.0, error=Throttled("wait")))
    families = _families(metrics)
    times = {
        sample.labels.get("le", sample.name.rpartition("_")[2]): sample.value
        for sample in families["gemini_backend_execution_duration_seconds"].samples
    }
    assert (times["0.25"], times["0.5"], times["300.0"], times["+Inf"]) == (0, 1, 1, 2)
    assert times["sum"] == pytest.approx(700.3)
    executions = {
        (sample.labels["code"], sample.labels["reason"]): sample.value
        for sample in families["gemini_backend_executions"].samples
        if sample.value
    }
    assert executions == {("OK", ""): 1, ("RESOURCE_EXHAUSTED", "UPSTREAM_THROTTLED"): 1}
    tokens = {s.labels["kind"]: s.value for s in families["gemini_backend_tokens"].samples}
    assert tokens == {"prompt": 10, "cached": 4, "candidates": 5, "thoughts": 3, "tool_use": 2}


def test_metrics_of_others_are_shown(metrics: Metrics) -> None:
    """A value that somebody else keeps is read whenever it is asked for; names are unique."""
    value = 3.0

    def source() -> Iterator[Family]:
        yield Family.gauge("upstream_connections_in_use", "Connections in use.", value)

    metrics.add_source(source)
    value = 4.0
    (sample,) = _families(metrics)["gemini_backend_upstream_connections_in_use"].samples
    assert sample.value == 4.0
    with pytest.raises(ValueError, match="upstream_connections_in_use already"):
        metrics.add_source(source)
    with pytest.raises(ValueError, match="rpcs already"):
        metrics.add_source(lambda: [Family.counter("rpcs", "RPCs.", 1)])


def test_every_kind_of_metric_is_shown(metrics: Metrics) -> None:
    """Numbers by label, those of models that are not told apart added up; sums; histograms."""
    times = Histogram()
    times.add(0.3)
    costs = {("models/a", "x"): 1.0, ("models/no", "x"): 2.0, ("models/nobody", "x"): 3.0}
    metrics.add_source(
        lambda: [
            Family("counter", "things", "Things.", costs, ("model", "kind")),
            Family("summary", "visit_seconds", "Visits.", {("load",): Sum(2, 0.5)}, ("what",)),
            Family("histogram", "wait_seconds", "Waits.", {(): times}),
        ]
    )
    families = _families(metrics)
    assert {("a", "x"): 1.0, (OTHER, "x"): 5.0} == {
        (one.labels["model"], one.labels["kind"]): one.value
        for one in families["gemini_backend_things"].samples
    }
    assert {"count": 2.0, "sum": 0.5} == {
        one.name.rpartition("_")[2]: one.value
        for one in families["gemini_backend_visit_seconds"].samples
    }
    waits = families["gemini_backend_wait_seconds"].samples
    assert 1.0 == next(one.value for one in waits if one.labels.get("le") == "0.5")


def test_embeddings_are_no_executions(metrics: Metrics, bus: Bus) -> None:
    """Their tokens are in the sum of tokens, and nothing else of them is counted here."""
    bus.publish(begun("e1", Work.EMBEDDING))
    assert metrics.executions_in_flight == 0
    bus.publish(ended("models/a", usage=USAGE))
    for _ in range(2):
        bus.publish(ended("models/a", work=Work.EMBEDDING, usage=Usage(prompt_token_count=7)))
    bus.publish(ended("models/e", work=Work.EMBEDDING, usage=Usage(prompt_token_count=1)))
    bus.publish(ended("models/e", work=Work.EMBEDDING))
    tokens = {
        (one.labels["model"], one.labels["kind"]): one.value
        for one in _families(metrics)["gemini_backend_tokens"].samples
    }
    assert (24, 5, 1) == (tokens["a", "prompt"], tokens["a", "candidates"], tokens["e", "prompt"])
    assert (["a"], 1) == (list(metrics.models), metrics.performance().executions.counts.total)


def test_a_summary_is_an_execution(metrics: Metrics, bus: Bus) -> None:
    """So is an item of a batch: counted like any other."""
    for work in (Work.EXECUTION, Work.ITEM, Work.SUMMARY):
        bus.publish(ended("models/a", work=work, usage=USAGE))
    assert 3 == metrics.performance().executions.counts.total


ENDS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 1.0, 6.0]),
        st.sampled_from([OK, OK, CANCELLED, "UPSTREAM_UNAVAILABLE"]),
        st.floats(0, 400),
        st.one_of(st.none(), st.floats(0, 400)),
        st.one_of(st.none(), st.tuples(*[st.integers(0, 9)] * 5)),
    ),
    max_size=150,
)


@given(ENDS)
def test_what_is_noted_and_counted_later_counts_the_same(ends: list[Any]) -> None:
    """Read after each one, or only at the end: the same counts, sums, slots and percentiles."""
    at_once, later, now = Series(), Series(), 1000.0
    for passed, outcome, seconds, first, tokens in ends:
        now += passed
        for series in (at_once, later):
            series.add(now, outcome, outcome, seconds, first_token=first, tokens=tokens)
        assert at_once.counted
    one, other = at_once.counted, later.counted
    for name in ("outcomes", "tokens", "last_success", "last_failure", "last_failure_reason"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("latency", "first_token"):
        assert getattr(one, name).counts == getattr(other, name).counts
        assert getattr(one, name).sum == pytest.approx(getattr(other, name).sum)
    slots = zip(one.ring.recent(now, 300), other.ring.recent(now, 300), strict=True)
    for slot, same in slots:
        assert (slot.outcomes, slot.tokens) == (same.outcomes, same.tokens)
        assert slot.latency.n_values == same.latency.n_values
        assert slot.latency.max() == same.latency.max()
