"""What was measured of a model in the last minutes, and whether it answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gemini_backend.models.measured import NOTHING, Availability, Measured
from gemini_backend.models.names import short_name
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.telemetry.health.model_health import ModelHealth
from gemini_backend.telemetry.metrics.metrics import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.component_status import Standing
    from gemini_backend.telemetry.metrics.metrics import Metrics
    from gemini_backend.telemetry.metrics.model_speeds import ModelSpeeds

# Health alone judges; this is how its verdict is called where models are chosen.
_AVAILABILITY = {
    HealthState.UNKNOWN: Availability.UNKNOWN,
    HealthState.HEALTHY: Availability.AVAILABLE,
    HealthState.DEGRADED: Availability.DEGRADED,
    HealthState.UNHEALTHY: Availability.UNAVAILABLE,
}


class ModelMeasures:
    """Puts together how fast a model is, and what health says of it."""

    def __init__(
        self,
        metrics: Metrics,
        speeds: ModelSpeeds,
        standing: Callable[[], Standing],
        clock: Clock,
    ) -> None:
        """Ask these; `standing` tells how the circuits and quotas are."""
        self._metrics = metrics
        self._speeds = speeds
        self._standing = standing
        self._clock = clock

    def of(self, model: str) -> Measured:
        """Return what was measured of a model; nothing of one that is counted with others."""
        label = self._metrics.label_of(model)
        if label == OTHER:
            return NOTHING  # what many unknown models did together is said of none of them
        health = ModelHealth(self._metrics, self._standing(), self._clock.now())
        recent = health.recent(label)
        return replace(
            self._speeds.of(short_name(model)),
            availability=_AVAILABILITY[health.verdict(label).state],
            error_ratio=recent.ratio if recent.executions else None,
        )
