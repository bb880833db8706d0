"""What `Metrics` counts itself, as it is shown: RPCs, executions, their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.metrics.metric_families import MODEL, Family
from gemini_backend.telemetry.metrics.series import KINDS
from gemini_backend.telemetry.metrics.zeros import outcomes, outcomes_of, with_zeros

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gemini_backend.telemetry.metrics.metrics import Metrics
    from gemini_backend.telemetry.metrics.series import Series

_METHOD = "method"


def families(metrics: Metrics) -> Iterator[Family]:
    """Yield every family of `metrics`."""
    yield from _rpcs(metrics.methods, metrics.known_methods)
    yield Family.gauge("open_streams", "Open streams.", metrics.open_streams)
    models = metrics.first_models()
    yield from _executions(metrics.models, models)
    running = {(model,): count for model, count in metrics.running_by_model().items()}
    yield Family("gauge", "executions_in_flight", "Running executions.", running, (MODEL,))
    said = "Tokens used; tokens of kind cached are included in tokens of kind prompt."
    tokens = {
        (model, kind): count
        for model, counts in metrics.tokens_by_model().items()
        for kind, count in zip(KINDS, counts, strict=True)
    }
    none = ((model, kind) for model in models for kind in KINDS)
    yield Family("counter", "tokens", said, with_zeros(tokens, none), (MODEL, "kind"))


def _rpcs(methods: Mapping[str, Series], known: Iterable[str]) -> Iterator[Family]:
    labels = (_METHOD,)
    said = "Completed RPCs, by outcome."
    none = ((method, *outcome) for method in known for outcome in outcomes_of(method))
    counted = with_zeros(_outcomes(methods), none)
    yield Family("counter", "rpcs", said, counted, (*labels, "code", "reason"))
    times = {(method,): series.counted.latency for method, series in methods.items()}
    yield Family("histogram", "rpc_duration_seconds", "Duration of RPCs.", times, labels)
    running = {(method,): series.in_flight for method, series in methods.items()}
    yield Family("gauge", "rpcs_in_flight", "Running RPCs.", running, labels)


def _executions(models: Mapping[str, Series], first: Iterable[str]) -> Iterator[Family]:
    labels = (MODEL,)
    said = "Completed executions, by outcome."
    none = ((model, *outcome) for model in first for outcome in outcomes())
    counted = with_zeros(_outcomes(models), none)
    yield Family("counter", "executions", said, counted, (*labels, "code", "reason"))
    times = {(model,): series.counted.latency for model, series in models.items()}
    said = "Duration of executions."
    yield Family("histogram", "execution_duration_seconds", said, times, labels)
    waits = {(model,): series.counted.first_token for model, series in models.items()}
    yield Family("histogram", "first_token_seconds", "Time to the first token.", waits, labels)


def _outcomes(counted: Mapping[str, Series]) -> dict[tuple[str, ...], int]:
    return {
        (name, code, "" if outcome == code else outcome): count
        for name, series in counted.items()
        for (code, outcome), count in series.counted.outcomes.items()
    }
