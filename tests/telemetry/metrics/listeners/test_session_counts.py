"""How sessions, their turns and the operations of their store are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.telemetry.events import (
    SessionChanged,
    SessionsCounted,
    SessionsExpired,
    SessionTurnEnded,
    StoreVisited,
)
from gemini_backend.telemetry.metrics.listeners.session_counts import SessionCounts
from gemini_backend.telemetry.metrics.metric_families import Sum
from tests.support.messages.events import heard_by

if TYPE_CHECKING:
    from gemini_backend.telemetry.events.event import Event


def counted(*events: Event) -> dict[str, dict[Any, Any]]:
    """Return every metric's values after these events."""
    counts = SessionCounts()
    bus = heard_by(counts)
    for event in events:
        bus.publish(event)
    return {family.name: dict(family.values) for family in counts.families()}


def test_nothing_is_counted_from_the_start() -> None:
    """Each outcome is there with 0, so that a rise from it is seen."""
    families = counted()
    assert {
        ("kept",): 0,
        ("repeated",): 0,
        ("refused",): 0,
        ("abandoned",): 0,
        ("lost",): 0,
    } == families["session_turns"]
    assert {0} == set(families["session_events"].values())


def test_the_number_of_sessions_follows_them() -> None:
    """Between two counts of the store it follows what is made and deleted, and is never below 0."""
    made, gone = SessionChanged("t", "s", "created"), SessionChanged("t", "s", "deleted")
    assert {(): 11} == counted(SessionsCounted(10), made, made, gone)["sessions"]
    assert {(): 0} == counted(gone, gone)["sessions"]
    expected = {("created",): 2, ("deleted",): 1, ("expired",): 7, ("summarized",): 1}
    summarized = SessionChanged("t", "s", "summarized")
    families = counted(made, made, gone, SessionsExpired(3), SessionsExpired(4), summarized)
    assert expected == families["session_events"]


def test_turns_are_counted_by_outcome() -> None:
    """Whosever they are."""
    turns = counted(
        SessionTurnEnded("e1", "t", "sessions/a", "kept"),
        SessionTurnEnded("e2", "u", "sessions/b", "kept"),
        SessionTurnEnded("e3", "t", "sessions/a", "lost"),
    )["session_turns"]
    assert (2, 1, 0) == (turns["kept",], turns["lost",], turns["refused",])


def test_operations_of_the_store_are_timed() -> None:
    """How many, how long in all, how many failed; those of other stores are none of these."""
    families = counted(
        StoreVisited("sessions", "load", 0.5, failed=False),
        StoreVisited("sessions", "load", 0.25, failed=True),
        StoreVisited("ledger", "load", 9.0, failed=True),
    )
    times, failures = families["session_store_seconds"], families["session_store_failures"]
    assert {("load",): Sum(2, 0.75)} == {one: time for one, time in times.items() if time.number}
    assert {("load",): 1} == {one: count for one, count in failures.items() if count}
