"""How changes of circuits and connections are counted."""

from __future__ import annotations

from gemini_backend.telemetry.component_status import CircuitState, CircuitStatus
from gemini_backend.telemetry.events import AdmissionRefused, CircuitChanged, ConnectionCondemned
from gemini_backend.telemetry.metrics.listeners.change_counts import ChangeCounts
from tests.support.messages.events import heard_by

REFUSED = AdmissionRefused("queue_full", "batch", 10, 5, 1.5)


def circuit(state: CircuitState, model: str = "models/a") -> CircuitChanged:
    return CircuitChanged(CircuitStatus(model, state, 1.0, None, 20, 18, 3), None)


def test_changes_of_circuits_are_counted_by_label() -> None:
    """By model and state; models that are not told apart are counted together."""
    counts = ChangeCounts(lambda model: "a" if model == "models/a" else "other")
    bus = heard_by(counts)
    for model in ("models/a", "models/x", "models/y"):
        bus.publish(circuit(CircuitState.OPEN, model))
    bus.publish(circuit(CircuitState.CLOSED))
    bus.publish(REFUSED)
    family, _ = counts.families()
    expected = {("a", "open"): 1, ("other", "open"): 2, ("a", "closed"): 1}
    assert expected == dict(family.values)


def test_condemned_connections_are_counted() -> None:
    """Whatever else changes."""
    counts = ChangeCounts(str)
    bus = heard_by(counts)
    for change in (ConnectionCondemned(), REFUSED, ConnectionCondemned()):
        bus.publish(change)
    assert [{(): 2}] == [
        family.values
        for family in counts.families()
        if family.name == "upstream_condemned_connections"
    ]
