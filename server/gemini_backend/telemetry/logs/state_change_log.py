"""Changes of state, logged. No line has anything of a caller's."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gemini_backend.telemetry.component_status import CircuitState, KeyState
from gemini_backend.telemetry.events import (
    AdmissionRefused,
    CircuitChanged,
    ConnectionCondemned,
    KeyChanged,
    KeySourceFailed,
    UpstreamKeysChanged,
)
from gemini_backend.telemetry.repeats import Repeats

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus

_log = logging.getLogger(__name__)


class StateChangeLog:
    """Writes a line for each change.

    For refusals, and for condemned connections, it is one when they begin, then one in 10 s at most
    with how many there were.
    """

    def __init__(self, clock: Clock) -> None:
        """Know of nothing yet."""
        self._refusals = Repeats(clock)
        self._condemned = Repeats(clock)

    def listen(self, bus: Bus) -> None:
        """Log what is published from now on."""
        bus.subscribe(CircuitChanged, _circuit)
        bus.subscribe(KeyChanged, _key)
        bus.subscribe(UpstreamKeysChanged, _keys)
        bus.subscribe(KeySourceFailed, _source)
        bus.subscribe(ConnectionCondemned, self._connection)
        bus.subscribe(AdmissionRefused, self._refusal)

    def _connection(self, _event: ConnectionCondemned) -> None:
        if count := self._condemned.due():
            _log.warning("upstream_stray_bytes", extra={"connections": count})

    def _refusal(self, event: AdmissionRefused) -> None:
        if count := self._refusals.due():
            _refused(event, count)


def _circuit(change: CircuitChanged) -> None:
    circuit = change.circuit
    facts: dict[str, object] = {"model": circuit.key, "state": circuit.state.name.lower()}
    if circuit.key_id:
        facts["key"] = circuit.key_id
    if circuit.state is not CircuitState.CLOSED:
        facts |= {"failures": circuit.failures, "calls": circuit.calls}
        facts["reason"] = circuit.reason or "too slow"
    if change.probe_seconds is not None:
        facts["probe_seconds"] = round(change.probe_seconds, 3)
    if change.outage_seconds:
        facts["outage_seconds"] = round(change.outage_seconds, 3)
    _log.log(_level_of(change), "circuit", extra=facts)


def _level_of(change: CircuitChanged) -> int:
    """Return how loud a change is: in an outage there is a probe every few seconds."""
    if change.circuit.state is CircuitState.CLOSED:
        return logging.INFO
    begins = change.circuit.state is CircuitState.OPEN and not change.outage_seconds
    return logging.WARNING if begins else logging.DEBUG


def _refused(change: AdmissionRefused, calls: int) -> None:
    facts = {
        "calls": calls,
        "why": change.why,
        "priority": change.priority,
        "running": change.running,
        "queued": change.queued,
        "estimated_wait_seconds": round(change.estimated_wait, 3),
    }
    _log.warning("admission_refuses", extra=facts)


def _key(change: KeyChanged) -> None:
    key = change.key
    facts: dict[str, object] = {
        "key": key.key_id,
        "project": key.project,
        "state": key.state.name.lower(),
        "before": change.before.name.lower(),
    }
    if key.state is not KeyState.ACTIVE:
        facts["reason"] = key.last_failure_reason
    if change.for_seconds is not None:
        facts["for_seconds"] = round(change.for_seconds, 3)
    level = {KeyState.ACTIVE: logging.INFO, KeyState.INVALID: logging.ERROR}
    _log.log(level.get(key.state, logging.WARNING), "upstream_key", extra=facts)


def _keys(change: UpstreamKeysChanged) -> None:
    facts: dict[str, object] = {"source": change.source}
    if change.added:
        facts["added"] = list(change.added)
    if change.removed:
        facts["removed"] = list(change.removed)
    _log.info("upstream_keys", extra=facts)


def _source(failure: KeySourceFailed) -> None:
    facts = {"source": failure.source, "problem": failure.problem}
    _log.error("upstream_key_source", extra=facts)
