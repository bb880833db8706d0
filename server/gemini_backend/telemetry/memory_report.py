"""How the budget of bytes in flight stands, as health and metrics show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.memory import Purpose
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import BodyHeld
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import RECENT_SECONDS, HealthState
from gemini_backend.telemetry.metrics.metric_families import Family

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.clock import Clock
    from gemini_backend.memory import MemoryBudget, RequestRoom
    from gemini_backend.telemetry.events import Bus

# a body, what is parsed of it, and the message
_FORMS = 3


class MemoryReport:
    """Degraded for a minute after a call was refused for want of memory."""

    def __init__(self, budget: MemoryBudget, room: RequestRoom, clock: Clock) -> None:
        """Read how both stand whenever somebody asks."""
        self._budget = budget
        self._room = room
        self._clock = clock
        self._bodies = budget.account(Purpose.BODIES)

    def listen(self, bus: Bus) -> None:
        """Count from now on what answers take that are read as a whole."""
        bus.subscribe(BodyHeld, self._held)

    def _held(self, body: BodyHeld) -> None:
        self._bodies.change(body.by * _FORMS)

    def component(self) -> Component:
        """Say whether calls were refused recently."""
        state = self._budget.state()
        recently = state.refused_at is not None and (
            self._clock.now() - state.refused_at < RECENT_SECONDS
        )
        if not recently:
            return Component("memory", HealthState.HEALTHY, "")
        message = (
            f"large requests are refused: the {state.limit / MIB:.0f} MiB for calls in progress "
            "are in use; raise server.max_memory_mb"
        )
        return Component("memory", HealthState.DEGRADED, message)

    def families(self) -> Iterator[Family]:
        """Yield every metric of the budget."""
        state = self._budget.state()
        said = "Upper limit of the bytes in flight."
        yield Family.gauge("memory_limit_bytes", said, state.limit)
        used = {(purpose,): float(size) for purpose, size in state.used.items()}
        said = "Bytes in flight, by what they are there for."
        yield Family("gauge", "memory_bytes", said, used, ("purpose",))
        said = "Large requests that wait for memory."
        yield Family.gauge("memory_waiting_requests", said, self._room.waiting)
        said = "Calls that were refused because the memory for calls in progress was in use."
        yield Family.counter("memory_refusals", said, state.refused)
