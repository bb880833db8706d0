"""The metrics as Prometheus reads them; names begin with `gemini_backend_`, units end them."""

from __future__ import annotations

from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from gemini_backend.telemetry.metrics.metric_families import MODEL, Family, Sum
from gemini_backend.telemetry.metrics.series import BOUNDS, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

    from gemini_backend.telemetry.metrics.metric_families import Labels

PREFIX = "gemini_backend"
_LIMITS = [*(str(bound) for bound in BOUNDS), "+Inf"]
_MADE_BY: dict[str, Any] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "summary": SummaryMetricFamily,
    "histogram": HistogramMetricFamily,
}


def registry_of(
    families: Callable[[], Iterable[Family]], label_of: Callable[[str], str]
) -> CollectorRegistry:
    """Return a registry of its own, with these metrics and those of the process.

    Args:
        families: Gives the metrics as they are now.
        label_of: Returns the label of a model.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OwnCollector(families, label_of))
    ProcessCollector(namespace=PREFIX, registry=registry)
    return registry


def text(registry: CollectorRegistry) -> bytes:
    """Return everything that is registered, in text format 0.0.4."""
    return generate_latest(registry)


class _OwnCollector(Collector):
    """Reads the metrics when they are asked for, so that counting costs next to nothing."""

    def __init__(
        self, families: Callable[[], Iterable[Family]], label_of: Callable[[str], str]
    ) -> None:
        self._families = families
        self._label_of = label_of
        build = {(version("gemini-backend"),): 1}
        self._build = Family("gauge", "build_info", "Version of the backend.", build, ("version",))

    def collect(self) -> Iterator[Metric]:
        """Yield every family."""
        for family in (self._build, *self._families()):
            yield self._made(family)

    def _made(self, family: Family) -> Metric:
        """Return the family as the client library has it."""
        name = f"{PREFIX}_{family.name}"
        made: Metric = _MADE_BY[family.kind](name, family.documentation, labels=family.labels)
        for key, value in self._labelled(family).items():
            _add(made, key, value)
        return made

    def _labelled(self, family: Family) -> dict[Labels, Any]:
        """Return the values by their labels, numbers of models that share a label added up."""
        if MODEL not in family.labels:
            return dict(family.values)
        place = family.labels.index(MODEL)
        values: dict[Labels, Any] = {}
        for given, value in family.values.items():
            key = (*given[:place], self._label_of(given[place]), *given[place + 1 :])
            values[key] = values[key] + value if key in values else value
        return values


def _add(made: Any, labels: Labels, value: float | Sum | Histogram) -> None:
    if isinstance(value, Histogram):
        reached = list(zip(_LIMITS, accumulate(value.counts), strict=True))
        made.add_metric(labels, reached, value.sum)
    elif isinstance(value, Sum):
        made.add_metric(labels, value.number, value.total)
    else:
        made.add_metric(labels, value)
