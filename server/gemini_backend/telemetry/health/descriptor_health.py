"""Whether the process has enough file descriptors, judged by attempts that got none."""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import DescriptorsRanOut
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import RECENT_SECONDS, HealthState

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus

_log = logging.getLogger(__name__)


class DescriptorHealth:
    """Degraded for a minute after the last attempt without a descriptor; logged when it begins."""

    def __init__(self, clock: Clock) -> None:
        """Know of no lack yet."""
        self._clock = clock
        self._lacked: float | None = None

    def listen(self, bus: Bus) -> None:
        """Hear of each attempt without one from now on."""
        bus.subscribe(DescriptorsRanOut, self._ran_out)

    def component(self) -> Component:
        """Say whether there was a lack recently."""
        if not self._recent():
            return Component("descriptors", HealthState.HEALTHY, "")
        return Component("descriptors", HealthState.DEGRADED, _message())

    def _ran_out(self, _event: DescriptorsRanOut) -> None:
        if not self._recent():
            _log.error("descriptors_ran_out", extra={"problem": _message()})
        self._lacked = self._clock.now()

    def _recent(self) -> bool:
        return self._lacked is not None and self._clock.now() - self._lacked < RECENT_SECONDS


def _message() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"the process ran out of file descriptors; its limit is {limit}: raise it (ulimit -n)"
