"""What happens to sessions, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.telemetry.events import (
    SessionChanged,
    SessionsCounted,
    SessionsExpired,
    SessionTurnEnded,
    StoreVisited,
)
from gemini_backend.telemetry.metrics.metric_families import Family, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.telemetry.events import Bus

OUTCOMES = ("kept", "repeated", "refused", "abandoned", "lost")
OPERATIONS = (
    "create",
    "get",
    "load",
    "turns",
    "put",
    "page",
    "delete",
    "sweep",
    "count",
    "wipe",
    "latest",
)
EVENTS = ("created", "deleted", "expired", "summarized")


class SessionCounts:
    """Counters that only grow, and how many sessions the store held when it was last looked at."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.sessions = 0
        self.turns = dict.fromkeys(OUTCOMES, 0)
        self.events = dict.fromkeys(EVENTS, 0)
        self.visits = dict.fromkeys(OPERATIONS, Sum(0, 0.0))
        self.failures = dict.fromkeys(OPERATIONS, 0)

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
        operation, before = event.operation, self.visits.get(event.operation, Sum(0, 0.0))
        self.visits[operation] = Sum(before.number + 1, before.total + event.seconds)
        self.failures[operation] = self.failures.get(operation, 0) + event.failed

    def families(self) -> Iterator[Family]:
        """Yield what was counted."""
        yield Family.gauge("sessions", "Stored sessions of all tenants.", self.sessions)
        said = "Sessions created, deleted, expired and summarized."
        yield Family("counter", "session_events", said, _keyed(self.events), ("event",))
        said = "Executions that named a session, by outcome."
        yield Family("counter", "session_turns", said, _keyed(self.turns), ("outcome",))
        said, labels = "Duration of operations of the session store.", ("operation",)
        yield Family("summary", "session_store_seconds", said, _keyed(self.visits), labels)
        said = "Failed operations of the session store."
        yield Family("counter", "session_store_failures", said, _keyed(self.failures), labels)


def _keyed(values: dict[str, Any]) -> dict[tuple[str, ...], Any]:
    return {(label,): value for label, value in values.items()}
