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
from gemini_backend.telemetry.health.health_rules import State
from gemini_backend.telemetry.health.lifecycle import Stage
from gemini_backend.telemetry.health.model_health import ModelHealth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gemini_backend.clock import Clock
    from gemini_backend.models.listing import ModelListing
    from gemini_backend.telemetry.health.lifecycle import Lifecycle
    from gemini_backend.telemetry.metrics import Metrics, Series

# A list that was due for reading so many times over is no longer trusted.
_LATE_READINGS = 3


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
    upstream's or the server's fault. Its state counts from when its circuit has closed again.
    """

    model: str
    state: State
    error_ratio: float
    executions: int
    last_success: float | None
    last_failure: float | None
    last_failure_reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """The whole at one moment.

    `standing` has times of the clock; `epoch` is what they count from, seconds since 1970.
    """

    state: State
    ready: bool
    message: str
    components: tuple[Component, ...]
    models: tuple[ModelCondition, ...]
    time: float
    standing: Standing = field(default_factory=Standing)
    epoch: float = 0.0

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
        *,
        clock: Clock,
        wall: Callable[[], float] = time.time,
        standing: Callable[[], Standing] = Standing,
        others: Sequence[Callable[[], Component]] = (),
    ) -> None:
        """Judge by these.

        Args:
            metrics: What happened.
            lifecycle: Whether the server takes calls.
            listing: Whether the list of models can be read as often as it should be.
            clock: What the metrics are timed by.
            wall: Gives seconds since the epoch.
            standing: Tells how the parts before upstream stand.
            others: Further parts, asked for each report.
        """
        self._others = others
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._listing = listing
        self._clock = clock
        self._wall = wall
        self._standing = standing
        self._since: dict[str, tuple[State, float]] = {}

    def report(self) -> Condition:
        """Return the condition at this moment."""
        now, standing = self._clock.now(), self._standing()
        epoch = self._wall() - now
        seen = ModelHealth(self._metrics, standing, now)
        names = [*self._metrics.models, *(name for name in seen.circuits if seen.is_shut(name))]
        models = tuple(self._model(name, seen, epoch) for name in sorted(dict.fromkeys(names)))
        components = tuple(self._dated(part) for part in self._parts(seen, standing, now))
        ready = self._lifecycle.stage is Stage.SERVING
        state, message = _whole(self._lifecycle.stage, components)
        return Condition(
            state, ready, message, components, models, epoch + now, standing=standing, epoch=epoch
        )

    def _model(self, name: str, seen: ModelHealth, epoch: float) -> ModelCondition:
        recent, verdict = seen.recent(name), seen.verdict(name)
        series: Series | None = self._metrics.models.get(name)
        success = None if series is None else series.last_success
        failure = None if series is None else series.last_failure
        return ModelCondition(
            model=f"models/{name}",
            state=verdict.state,
            error_ratio=recent.ratio,
            executions=recent.executions,
            last_success=None if success is None else success + epoch,
            last_failure=None if failure is None else failure + epoch,
            last_failure_reason="" if series is None else series.last_failure_reason,
            message=verdict.message,
        )

    def _parts(self, seen: ModelHealth, standing: Standing, now: float) -> Iterator[Component]:
        upstream = seen.upstream()
        yield Component("upstream", upstream.state, upstream.message, essential=True)
        yield self._registry()
        if standing.admission is not None:
            queue = health_rules.of_admission(standing.admission, now)
            yield Component("admission", queue.state, queue.message, essential=True)
        if standing.caching is not None:
            on = standing.caching
            state, why = (State.HEALTHY, "") if on else (State.UNKNOWN, "disabled by cache.mode")
            yield Component("cache", state, why)
        if standing.journal is not None:
            journal = health_rules.of_journal(standing.journal, now)
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
            return Component("models", State.UNKNOWN, "the list of models was never read")
        if age > self._listing.refresh_seconds * _LATE_READINGS:
            message = f"the list of models is {age:.0f} s old: it cannot be refreshed"
            return Component("models", State.DEGRADED, message)
        return Component("models", State.HEALTHY, "")


def _whole(stage: Stage, components: Sequence[Component]) -> tuple[State, str]:
    if stage is not Stage.SERVING:
        return State.UNHEALTHY, f"the server is {stage.value}"
    bad = [one for one in components if one.state >= State.DEGRADED]
    if not bad:
        return State.HEALTHY, "the server accepts calls"
    essential = max((one.state for one in bad if one.essential), default=State.DEGRADED)
    return essential, "; ".join(one.message for one in bad)


def _essence(condition: Condition) -> tuple[object, ...]:
    """Return what is worth telling: states, not counts, levels or times that merely move on."""
    standing = condition.standing
    return (
        condition.state,
        condition.ready,
        tuple((one.name, one.state) for one in condition.components),
        tuple((one.model, one.state) for one in condition.models),
        frozenset((one.key, one.key_id, one.state, one.opened) for one in standing.circuits),
        frozenset(
            (one.project, one.model, one.kind)
            for one in standing.quotas
            if one.blocked_until is not None
        ),
        frozenset((one.key_id, one.state) for one in standing.keys),
    )
