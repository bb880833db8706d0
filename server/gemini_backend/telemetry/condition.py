"""How the backend is, judged by what it has seen: real executions only, never a probe that costs.

Liveness is not readiness, and readiness is not the health of a model: with the upstream dead the
server still takes calls, and says why they fail.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from gemini_backend.telemetry.lifecycle import Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.models.listing import ModelListing
    from gemini_backend.telemetry.lifecycle import Lifecycle
    from gemini_backend.telemetry.metrics import Metrics
    from gemini_backend.telemetry.snapshots import Stats
    from gemini_backend.telemetry.tally import Series

WINDOW_SECONDS = 300.0
# Below so many executions one failure says nothing about a model.
_FEW = 5
_DEGRADED_RATIO, _UNHEALTHY_RATIO = 0.1, 0.5
# A list that was due for reading so many times over is no longer trusted.
_LATE_READINGS = 3
_CALLERS_OWN = ("CALLER_", "POLICY_")


class State(IntEnum):
    """How well something works; the worse, the higher."""

    UNKNOWN = 0
    HEALTHY = 1
    DEGRADED = 2
    UNHEALTHY = 3


@dataclass(frozen=True, slots=True)
class Component:
    """One part.

    `essential` says whether requests fail without it, `since` when it was first seen in its
    state, seconds since the epoch.
    """

    name: str
    state: State
    message: str
    essential: bool = False
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelCondition:
    """One model; times are seconds since the epoch, None for never.

    `error_ratio` is the share of its executions of the last 5 minutes that failed by the
    upstream's or the server's fault.
    """

    model: str
    state: State
    error_ratio: float
    executions: int
    last_success: float | None
    last_failure: float | None
    last_failure_reason: str


@dataclass(frozen=True, slots=True)
class Condition:
    """The whole at one moment."""

    state: State
    ready: bool
    message: str
    components: tuple[Component, ...]
    models: tuple[ModelCondition, ...]
    time: float

    def same_as(self, other: Condition | None) -> bool:
        """Say whether nothing has changed that anybody would want to be told of."""
        return other is not None and _essence(self) == _essence(other)


class ConditionReporter:
    """Says how the backend is, from what others have counted."""

    def __init__(
        self,
        metrics: Metrics,
        lifecycle: Lifecycle,
        listing: ModelListing,
        refresh_seconds: float,
        *,
        clock: Clock,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Judge by these.

        Args:
            metrics: What happened.
            lifecycle: Whether the server takes calls.
            listing: Whether the list of models can be read.
            refresh_seconds: How often it should be.
            clock: What the metrics are timed by.
            wall: Gives seconds since the epoch.
        """
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._listing = listing
        self._refresh = refresh_seconds
        self._clock = clock
        self._wall = wall
        self._since: dict[str, tuple[State, float]] = {}

    def report(self) -> Condition:
        """Return the condition at this moment."""
        performance = self._metrics.performance(WINDOW_SECONDS)
        offset = self._wall() - self._clock.now()
        recent = dict(performance.models)
        models = tuple(
            self._model(name, series, recent.get(name), offset)
            for name, series in sorted(self._metrics.models.items())
        )
        parts = (_upstream(performance.executions), self._registry())
        components = tuple(self._dated(part) for part in parts)
        ready = self._lifecycle.stage is Stage.SERVING
        state, message = _whole(self._lifecycle.stage, components)
        return Condition(state, ready, message, components, models, self._wall())

    def _model(
        self, name: str, series: Series, stats: Stats | None, offset: float
    ) -> ModelCondition:
        ratio, executions = _error_ratio(stats)
        return ModelCondition(
            model=f"models/{name}",
            state=_judged(ratio, executions),
            error_ratio=ratio,
            executions=executions,
            last_success=None if series.last_success is None else series.last_success + offset,
            last_failure=None if series.last_failure is None else series.last_failure + offset,
            last_failure_reason=series.last_failure_reason,
        )

    def _dated(self, component: Component) -> Component:
        seen = self._since.get(component.name)
        if seen is None or seen[0] is not component.state:
            seen = self._since[component.name] = (component.state, self._wall())
        return replace(component, since=seen[1])

    def _registry(self) -> Component:
        age = self._listing.age_seconds()
        if age is None:
            return Component("models", State.UNKNOWN, "the list of models was never read")
        if age > self._refresh * _LATE_READINGS:
            message = f"the list of models is {age:.0f} s old: it cannot be read again"
            return Component("models", State.DEGRADED, message)
        return Component("models", State.HEALTHY, "")


def _error_ratio(stats: Stats | None) -> tuple[float, int]:
    """Return the share of failures that say something of the upstream, and of how many."""
    if stats is None:
        return 0.0, 0
    counted = stats.counts.succeeded
    failed = sum(count for reason, count in stats.errors if not reason.startswith(_CALLERS_OWN))
    total = counted + failed
    return (failed / total if total else 0.0), total


def _judged(ratio: float, executions: int) -> State:
    if not executions:
        return State.UNKNOWN
    if executions >= _FEW and ratio >= _UNHEALTHY_RATIO:
        return State.UNHEALTHY
    if ratio >= _DEGRADED_RATIO:
        return State.DEGRADED
    return State.HEALTHY


def _upstream(stats: Stats) -> Component:
    ratio, executions = _error_ratio(stats)
    state = _judged(ratio, executions)
    if state is State.UNKNOWN:
        message = "no execution in the last 5 minutes"
        return Component("upstream", state, message, essential=True)
    if state is State.HEALTHY:
        return Component("upstream", state, "", essential=True)
    worst = next(reason for reason, _ in stats.errors if not reason.startswith(_CALLERS_OWN))
    message = (
        f"{ratio:.0%} of {executions} executions of the last 5 minutes failed, "
        f"most often by {worst}"
    )
    return Component("upstream", state, message, essential=True)


def _whole(stage: Stage, components: tuple[Component, ...]) -> tuple[State, str]:
    if stage is not Stage.SERVING:
        return State.UNHEALTHY, f"the server is {stage.value}"
    bad = [one for one in components if one.state >= State.DEGRADED]
    if not bad:
        return State.HEALTHY, "the server takes calls"
    essential = max((one.state for one in bad if one.essential), default=State.DEGRADED)
    return essential, "; ".join(one.message for one in bad)


def _essence(condition: Condition) -> tuple[object, ...]:
    return (
        condition.state,
        condition.ready,
        tuple((one.name, one.state) for one in condition.components),
        tuple((one.model, one.state) for one in condition.models),
    )
