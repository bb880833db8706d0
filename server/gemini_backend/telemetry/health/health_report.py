"""How the backend is, judged by what it has seen: real executions only, never a probe that costs.

Liveness is not readiness, and readiness is not the health of a model: with the upstream dead the
server still takes calls, and says why they fail.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from gemini_backend.telemetry.component_status import Standing
from gemini_backend.telemetry.health import health_rules
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.telemetry.health.lifecycle import Stage
from gemini_backend.telemetry.health.model_health import ModelHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gemini_backend.clock import Clock
    from gemini_backend.models.listing import ModelListing
    from gemini_backend.telemetry.health.lifecycle import Lifecycle
    from gemini_backend.telemetry.metrics import Metrics

# A list that was due for reading so many times over is no longer trusted.
_LATE_READINGS = 3


@dataclass(frozen=True, slots=True)
class Component:
    """One part.

    `essential` says whether requests fail without it, `since` when it was first seen in its
    state, seconds since the epoch.
    """

    name: str
    state: HealthState
    message: str
    essential: bool = False
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model; times are seconds since the epoch, None for never.

    `error_ratio` is the share of its executions of the last 5 minutes that failed by the
    upstream's or the server's fault. Its state counts from when its circuit has closed again.
    """

    model: str
    state: HealthState
    error_ratio: float
    executions: int
    last_success: float | None
    last_failure: float | None
    last_failure_reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The whole at one moment.

    `component_status` has times of the clock; `epoch` is what they count from, seconds since 1970.
    """

    state: HealthState
    ready: bool
    message: str
    components: tuple[Component, ...]
    models: tuple[ModelReport, ...]
    time: float
    component_status: Standing = field(default_factory=Standing)
    epoch: float = 0.0

    def same_as(self, other: HealthReport | None) -> bool:
        """Say whether nothing has changed that anybody would want to be told of."""
        return other is not None and _essence(self) == _essence(other)


class HealthReporter:
    """Says how the backend is, from what others have counted."""

    def __init__(
        self,
        metrics: Metrics,
        lifecycle: Lifecycle,
        listing: ModelListing,
        *,
        clock: Clock,
        wall: Callable[[], float] = time.time,
        component_status: Callable[[], Standing] = Standing,
        others: Sequence[Callable[[], Component]] = (),
    ) -> None:
        """Judge by these.

        Args:
            metrics: What happened.
            lifecycle: Whether the server takes calls.
            listing: Whether the list of models can be read as often as it should be.
            clock: What the metrics are timed by.
            wall: Gives seconds since the epoch.
            component_status: Tells how the parts before upstream stand.
            others: Further parts, asked for each report.
        """
        self._others = others
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._listing = listing
        self._clock = clock
        self._wall = wall
        self._component_status = component_status
        self._since: dict[str, tuple[HealthState, float]] = {}

    def report(self) -> HealthReport:
        """Return the condition at this moment."""
        now, component_status = self._clock.now(), self._component_status()
        epoch = self._wall() - now
        seen = ModelHealth(self._metrics, component_status, now)
        names = [*self._metrics.models, *(name for name in seen.circuits if seen.is_shut(name))]
        models = tuple(self._model(name, seen, epoch) for name in sorted(dict.fromkeys(names)))
        components = tuple(self._dated(part) for part in self._parts(seen, component_status, now))
        ready = self._lifecycle.stage is Stage.SERVING
        state, message = _whole(self._lifecycle.stage, components)
        return HealthReport(
            state,
            ready,
            message,
            components,
            models,
            epoch + now,
            component_status=component_status,
            epoch=epoch,
        )

    def _model(self, name: str, seen: ModelHealth, epoch: float) -> ModelReport:
        recent, verdict = seen.recent(name), seen.verdict(name)
        series = self._metrics.models.get(name)
        counted = None if series is None else series.counted
        success = None if counted is None else counted.last_success
        failure = None if counted is None else counted.last_failure
        return ModelReport(
            model=f"models/{name}",
            state=verdict.state,
            error_ratio=recent.ratio,
            executions=recent.executions,
            last_success=None if success is None else success + epoch,
            last_failure=None if failure is None else failure + epoch,
            last_failure_reason="" if counted is None else counted.last_failure_reason,
            message=verdict.message,
        )

    def _parts(
        self, seen: ModelHealth, component_status: Standing, now: float
    ) -> Iterator[Component]:
        upstream = seen.upstream()
        yield Component("upstream", upstream.state, upstream.message, essential=True)
        yield self._registry()
        if component_status.admission is not None:
            queue = health_rules.of_admission(component_status.admission, now)
            yield Component("admission", queue.state, queue.message, essential=True)
        if component_status.caching is not None:
            on = component_status.caching
            state, why = (
                (HealthState.HEALTHY, "") if on else (HealthState.UNKNOWN, "disabled by cache.mode")
            )
            yield Component("cache", state, why)
        if component_status.journal is not None:
            journal = health_rules.of_journal(component_status.journal, now)
            yield Component("journal", journal.state, journal.message)
        for part in self._others:
            yield part()

    def _dated(self, component: Component) -> Component:
        seen = self._since.get(component.name)
        if seen is None or seen[0] is not component.state:
            seen = self._since[component.name] = (component.state, self._wall())
        return replace(component, since=seen[1])

    def _registry(self) -> Component:
        age = self._listing.age_seconds()
        if age is None:
            return Component("models", HealthState.UNKNOWN, "the list of models was never read")
        if age > self._listing.refresh_seconds * _LATE_READINGS:
            message = f"the list of models is {age:.0f} s old: it cannot be refreshed"
            return Component("models", HealthState.DEGRADED, message)
        return Component("models", HealthState.HEALTHY, "")


def _whole(stage: Stage, components: Sequence[Component]) -> tuple[HealthState, str]:
    if stage is not Stage.SERVING:
        return HealthState.UNHEALTHY, f"the server is {stage.value}"
    bad = [one for one in components if one.state >= HealthState.DEGRADED]
    if not bad:
        return HealthState.HEALTHY, "the server accepts calls"
    essential = max((one.state for one in bad if one.essential), default=HealthState.DEGRADED)
    return essential, "; ".join(one.message for one in bad)


def _essence(condition: HealthReport) -> tuple[object, ...]:
    """Return what is worth telling: states, not counts, levels or times that merely move on."""
    component_status = condition.component_status
    return (
        condition.state,
        condition.ready,
        tuple((one.name, one.state) for one in condition.components),
        tuple((one.model, one.state) for one in condition.models),
        frozenset(
            (one.key, one.key_id, one.state, one.opened) for one in component_status.circuits
        ),
        frozenset(
            (one.project, one.model, one.kind)
            for one in component_status.quotas
            if one.blocked_until is not None
        ),
        frozenset((one.key_id, one.state) for one in component_status.keys),
    )
