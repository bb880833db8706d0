"""What `Metrics` counts itself, as it is shown: RPCs, executions, their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.metrics.metric_families import MODEL, Family
from gemini_backend.telemetry.metrics.series import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gemini_backend.telemetry.metrics.metrics import Metrics
    from gemini_backend.telemetry.metrics.series import Series

_METHOD = "method"


def families(metrics: Metrics) -> Iterator[Family]:
    """Yield every family of `metrics`."""
    yield from _rpcs(metrics.methods)
    yield Family.gauge("open_streams", "Open streams.", metrics.open_streams)
    yield from _executions(metrics.models)
    running = {(model,): count for model, count in metrics.running_by_model().items()}
    yield Family("gauge", "executions_in_flight", "Running executions.", running, (MODEL,))
    said = "Tokens used; tokens of kind cached are included in tokens of kind prompt."
    tokens = {
        (model, kind): count
        for model, counts in metrics.tokens_by_model().items()
        for kind, count in zip(KINDS, counts, strict=True)
    }
    yield Family("counter", "tokens", said, tokens, (MODEL, "kind"))


def _rpcs(methods: Mapping[str, Series]) -> Iterator[Family]:
    labels = (_METHOD,)
    said = "Completed RPCs, by outcome."
    yield Family("counter", "rpcs", said, _outcomes(methods), (*labels, "code", "reason"))
    times = {(method,): series.latency for method, series in methods.items()}
    yield Family("histogram", "rpc_duration_seconds", "Duration of RPCs.", times, labels)
    running = {(method,): series.in_flight for method, series in methods.items()}
    yield Family("gauge", "rpcs_in_flight", "Running RPCs.", running, labels)


def _executions(models: Mapping[str, Series]) -> Iterator[Family]:
    labels = (MODEL,)
    said = "Completed executions, by outcome."
    yield Family("counter", "executions", said, _outcomes(models), (*labels, "code", "reason"))
    times = {(model,): series.latency for model, series in models.items()}
    said = "Duration of executions."
    yield Family("histogram", "execution_duration_seconds", said, times, labels)
    first = {(model,): series.first_token for model, series in models.items()}
    yield Family("histogram", "first_token_seconds", "Time to the first token.", first, labels)


def _outcomes(counted: Mapping[str, Series]) -> dict[tuple[str, ...], int]:
    return {
        (name, code, "" if outcome == code else outcome): count
        for name, series in counted.items()
        for (code, outcome), count in series.outcomes.items()
    }
