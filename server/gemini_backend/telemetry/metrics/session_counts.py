"""What happens to sessions, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import (
    SessionChanged,
    SessionsCounted,
    SessionsExpired,
    SessionTurnEnded,
    StoreVisited,
)

if TYPE_CHECKING:
    from gemini_backend.telemetry.events import Bus

OUTCOMES = ("kept", "refused", "abandoned", "lost")
EVENTS = ("created", "deleted", "expired", "summarized")


@dataclass(slots=True)
class Visits:
    """Visits to the store for one purpose: how many, how long in all, how many failed."""

    count: int = 0
    seconds: float = 0.0
    failed: int = 0


class SessionCounts:
    """Counters that only grow, and how many sessions the store held when it was last looked at."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.sessions = 0
        self.turns = dict.fromkeys(OUTCOMES, 0)
        self.events = dict.fromkeys(EVENTS, 0)
        self.visits: dict[str, Visits] = {}

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(SessionTurnEnded, self._turn_ended)
        bus.subscribe(SessionChanged, self._changed)
        bus.subscribe(SessionsExpired, self._expired)
        bus.subscribe(SessionsCounted, self._counted)
        bus.subscribe(StoreVisited, self._visited)

    def _turn_ended(self, event: SessionTurnEnded) -> None:
        self.turns[event.outcome] += 1

    def _changed(self, event: SessionChanged) -> None:
        self.events[event.change] += 1
        change = {"created": 1, "deleted": -1}.get(event.change, 0)
        self.sessions = max(0, self.sessions + change)

    def _expired(self, event: SessionsExpired) -> None:
        self.events["expired"] += event.count

    def _counted(self, event: SessionsCounted) -> None:
        self.sessions = event.count

    def _visited(self, event: StoreVisited) -> None:
        if event.store != "sessions":
            return
        visits = self.visits.setdefault(event.operation, Visits())
        visits.count += 1
        visits.seconds += event.seconds
        visits.failed += event.failed
