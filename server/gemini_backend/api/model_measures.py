"""What was measured of a model in the last minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.models.measured import NOTHING, Seen
from gemini_backend.models.names import short_name
from gemini_backend.telemetry.metrics.metrics import OTHER

if TYPE_CHECKING:
    from gemini_backend.api.overview import Overview
    from gemini_backend.telemetry.metrics.cost_metrics import PaidExecutions
    from gemini_backend.telemetry.metrics.metrics import Metrics


class ModelMeasures:
    """Puts together what the metrics, the costs and the circuits say of a model."""

    def __init__(self, metrics: Metrics, paid: PaidExecutions, overview: Overview) -> None:
        """Ask these."""
        self._metrics = metrics
        self._paid = paid
        self._overview = overview

    def of(self, model: str) -> Seen:
        """Return what was measured of a model; nothing of one that is counted with others."""
        if self._metrics.label_of(model) == OTHER:
            return NOTHING  # what many unknown models did together is said of none of them
        recent = self._metrics.performance(model=model).executions
        broken = self._overview.broken(model)
        return self._paid.seen(short_name(model), recent, broken=broken)
