"""The metrics as Prometheus reads them; names begin with `gemini_backend_`, units end them."""

from __future__ import annotations

from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from gemini_backend.telemetry.metrics.metric_families import MODEL, Times
from gemini_backend.telemetry.metrics.series import BOUNDS, KINDS
from gemini_backend.telemetry.metrics.session_exposition import session_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from gemini_backend.telemetry.metrics.metric_families import Figure
    from gemini_backend.telemetry.metrics.metrics import Metrics
    from gemini_backend.telemetry.metrics.series import Histogram

PREFIX = "gemini_backend"
_LIMITS = [*(str(bound) for bound in BOUNDS), "+Inf"]


def registry_of(metrics: Metrics) -> CollectorRegistry:
    """Return a registry of its own, with these metrics and those of the process."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OwnCollector(metrics))
    ProcessCollector(namespace=PREFIX, registry=registry)
    return registry


def text(registry: CollectorRegistry) -> bytes:
    """Return everything that is registered, in text format 0.0.4."""
    return generate_latest(registry)


class _OwnCollector(Collector):
    """Reads the figures when they are asked for, so that counting costs next to nothing."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        yield InfoMetricFamily(
            f"{PREFIX}_build",
            "Version of the backend.",
            value={"version": version("gemini-backend")},
        )
        yield from self._calls()
        yield from self._executions()
        yield from self._now()
        for figure in self._metrics.figures():
            yield _times(figure) if isinstance(figure, Times) else self._family(figure)
        yield from session_families(PREFIX, self._metrics.sessions)

    def _calls(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            f"{PREFIX}_rpcs", "Completed RPCs, by outcome.", labels=["method", "code", "reason"]
        )
        times = HistogramMetricFamily(
            f"{PREFIX}_rpc_duration_seconds", "Duration of RPCs.", labels=["method"]
        )
        running = GaugeMetricFamily(f"{PREFIX}_rpcs_in_flight", "Running RPCs.", labels=["method"])
        for method, series in self._metrics.methods.items():
            for (code, outcome), count in series.outcomes.items():
                reason = "" if outcome == code else outcome
                ended.add_metric([method, code, reason], count)
            _add(times, method, series.latency)
            running.add_metric([method], series.in_flight)
        yield from (ended, times, running)

    def _executions(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            f"{PREFIX}_executions",
            "Completed executions, by outcome.",
            labels=["model", "code", "reason"],
        )
        times = HistogramMetricFamily(
            f"{PREFIX}_execution_duration_seconds", "Duration of executions.", labels=["model"]
        )
        first = HistogramMetricFamily(
            f"{PREFIX}_first_token_seconds", "Time to the first token.", labels=["model"]
        )
        tokens = CounterMetricFamily(
            f"{PREFIX}_tokens",
            "Tokens used; kind cached is part of kind prompt.",
            labels=["model", "kind"],
        )
        for model, series in self._metrics.models.items():
            for (code, outcome), count in series.outcomes.items():
                ended.add_metric([model, code, "" if outcome == code else outcome], count)
            _add(times, model, series.latency)
            _add(first, model, series.first_token)
            for kind, count in zip(KINDS, series.tokens, strict=True):
                tokens.add_metric([model, kind], count)
        yield from (ended, times, first, tokens)

    def _now(self) -> Iterator[Metric]:
        running = GaugeMetricFamily(
            f"{PREFIX}_executions_in_flight", "Running executions.", labels=["model"]
        )
        for model, count in self._metrics.running_by_model().items():
            running.add_metric([model], count)
        yield running
        streams = self._metrics.open_streams
        yield GaugeMetricFamily(f"{PREFIX}_open_streams", "Open streams.", value=streams)
        for gauge in self._metrics.gauges:
            name = f"{PREFIX}_{gauge.name}"
            yield GaugeMetricFamily(name, gauge.documentation, value=gauge.read())

    def _family(self, figure: Figure) -> Metric:
        """Return the family, values of models that share a label added up."""
        make = CounterMetricFamily if figure.kind == "counter" else GaugeMetricFamily
        name = f"{PREFIX}_{figure.name}"
        family = make(name, figure.documentation, labels=figure.labels)
        values: dict[tuple[str, ...], float] = {}
        for given, value in figure.values.items():
            key = tuple(
                self._metrics.label_of(text) if label == MODEL else text
                for label, text in zip(figure.labels, given, strict=True)
            )
            values[key] = values.get(key, 0) + value
        for key, value in values.items():
            family.add_metric(key, value)
        return family


def _times(times: Times) -> Metric:
    family = HistogramMetricFamily(f"{PREFIX}_{times.name}", times.documentation, labels=[])
    reached = list(zip(_LIMITS, accumulate(times.histogram.counts), strict=True))
    family.add_metric([], reached, times.histogram.sum)
    return family


def _add(family: HistogramMetricFamily, label: str, histogram: Histogram) -> None:
    reached = list(zip(_LIMITS, accumulate(histogram.counts), strict=True))
    family.add_metric([label], reached, histogram.sum)
