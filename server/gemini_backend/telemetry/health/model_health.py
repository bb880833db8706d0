"""How the models are at one moment, by their circuits, their quotas and their executions.

The one judge of a model: the health report and the services about models ask it, so that a model is
not well to one and ill to the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.models.names import short_name
from gemini_backend.telemetry.component_status import CircuitState
from gemini_backend.telemetry.health import health_rules
from gemini_backend.telemetry.health.health_rules import (
    NOTHING,
    HealthState,
    HealthVerdict,
    Outcomes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.telemetry.component_status import CircuitStatus, Standing
    from gemini_backend.telemetry.metrics import Metrics

WINDOW_SECONDS = 300.0


class ModelHealth:
    """Judges each model, by its short name, and the upstream by all of them."""

    def __init__(self, metrics: Metrics, component_status: Standing, now: float) -> None:
        """Judge by what was counted, and by how the parts before upstream stand now."""
        self._metrics = metrics
        self._component_status = component_status
        self._now = now
        self._projects = frozenset(key.project for key in component_status.keys)
        self.circuits: dict[str, list[CircuitStatus]] = {}
        for circuit in component_status.circuits:
            self.circuits.setdefault(short_name(circuit.key), []).append(circuit)

    def is_shut(self, name: str) -> bool:
        """Say whether a circuit of the model's does not let everything through."""
        return any(one.state is not CircuitState.CLOSED for one in self.circuits.get(name, ()))

    def recent(self, name: str) -> Outcomes:
        """Return how its executions of the last 5 minutes ended."""
        return Outcomes.of(self._metrics.outcomes(name, self._now - WINDOW_SECONDS))

    def verdict(self, name: str) -> HealthVerdict:
        """Judge the model."""
        quotas = [one for one in self._component_status.quotas if short_name(one.model) == name]
        circuits = health_rules.of_circuits(self.circuits.get(name, ()), self._now)
        spent = health_rules.of_quotas(quotas, self._projects, self._now)
        return health_rules.worst((circuits, spent, *self._failures(circuits, self._judged(name))))

    def upstream(self) -> HealthVerdict:
        """Judge the upstream as a whole."""
        judged = sum((self._judged(name) for name in self._metrics.models), NOTHING)
        models = [health_rules.of_circuits(own, self._now) for own in self.circuits.values()]
        circuits = health_rules.together(models)
        keys = health_rules.of_keys(self._component_status.keys)
        verdict = health_rules.worst((keys, circuits, *self._failures(circuits, judged)))
        if verdict.state is HealthState.UNKNOWN:
            return HealthVerdict(HealthState.UNKNOWN, "no execution in the last 5 minutes")
        return verdict

    def _failures(self, circuits: HealthVerdict, outcomes: Outcomes) -> Iterator[HealthVerdict]:
        """Yield what failures say, unless the circuits have said it all."""
        if circuits.state is not HealthState.UNHEALTHY:
            yield health_rules.of_executions(outcomes)

    def _judged(self, name: str) -> Outcomes:
        """Return how the executions ended that still say something: not those before a cure."""
        cured = health_rules.cured_at(self.circuits.get(name, ()))
        begin = self._now - WINDOW_SECONDS
        return Outcomes.of(self._metrics.outcomes(name, max(begin, cured or begin)))
