"""What the log says of changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.telemetry.component_status import (
    CircuitState,
    CircuitStatus,
    KeyState,
    KeyStatus,
)
from gemini_backend.telemetry.events import (
    AdmissionRefused,
    CircuitChanged,
    ConnectionCondemned,
    KeyChanged,
    KeySourceFailed,
    UpstreamKeysChanged,
)
from gemini_backend.telemetry.logs.state_change_log import StateChangeLog
from gemini_backend.telemetry.repeats import REPEAT_SECONDS
from tests.support.messages.events import heard_by

if TYPE_CHECKING:
    from gemini_backend.telemetry.events.event import Event
    from tests.support.clock import FakeClock

REFUSED = AdmissionRefused("queue_full", "batch", 10, 5, 1.5)
_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", None, None).__dict__) | {"message"}


def circuit(state: CircuitState, model: str = "models/a", *, outage: float = 0.0) -> CircuitChanged:
    status = CircuitStatus(model, state, 1.0, None, 20, 18, 3, reason="UPSTREAM_UNREACHABLE")
    return CircuitChanged(status, 10.0 if state is CircuitState.OPEN else None, outage)


def key(state: KeyState, reason: str, seconds: float | None) -> KeyChanged:
    status = KeyStatus("k1", "p", state, None, 0, 0, 1, reason)
    return KeyChanged(status, KeyState.ACTIVE, seconds)


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a line says beside its name."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


@pytest.mark.parametrize(
    ("change", "line", "expected"),
    [
        (
            UpstreamKeysChanged("file", ("a1",), ()),
            ("upstream_keys", "INFO"),
            {"source": "file", "added": ["a1"]},
        ),
        (
            UpstreamKeysChanged("store", (), ("a1", "b2")),
            ("upstream_keys", "INFO"),
            {"source": "store", "removed": ["a1", "b2"]},
        ),
        (
            KeySourceFailed("command", "it ended with code 3"),
            ("upstream_key_source", "ERROR"),
            {"source": "command", "problem": "it ended with code 3"},
        ),
        (
            circuit(CircuitState.OPEN),
            ("circuit", "WARNING"),
            {
                "model": "models/a",
                "state": "open",
                "failures": 18,
                "calls": 20,
                "reason": "UPSTREAM_UNREACHABLE",
                "probe_seconds": 10.0,
            },
        ),
        (
            circuit(CircuitState.OPEN, outage=7.5),
            ("circuit", "DEBUG"),
            {
                "model": "models/a",
                "state": "open",
                "failures": 18,
                "calls": 20,
                "reason": "UPSTREAM_UNREACHABLE",
                "probe_seconds": 10.0,
                "outage_seconds": 7.5,
            },
        ),
        (
            circuit(CircuitState.CLOSED, outage=8.0),
            ("circuit", "INFO"),
            {"model": "models/a", "state": "closed", "outage_seconds": 8.0},
        ),
        (
            key(KeyState.INVALID, "UPSTREAM_KEY_REFUSED", 60.0),
            ("upstream_key", "ERROR"),
            {
                "key": "k1",
                "project": "p",
                "state": "invalid",
                "before": "active",
                "reason": "UPSTREAM_KEY_REFUSED",
                "for_seconds": 60.0,
            },
        ),
        (
            REFUSED,
            ("admission_refuses", "WARNING"),
            {
                "calls": 1,
                "why": "queue_full",
                "priority": "batch",
                "running": 10,
                "queued": 5,
                "estimated_wait_seconds": 1.5,
            },
        ),
        (ConnectionCondemned(), ("upstream_stray_bytes", "WARNING"), {"connections": 1}),
    ],
    ids=[
        *("keys came", "keys went", "source failed"),
        *("opened", "opened again", "closed", "key", "refusal", "condemned"),
    ],
)
def test_a_change_is_one_line(
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    change: Event,
    line: tuple[str, str],
    expected: dict[str, Any],
) -> None:
    """Its name, how bad it is, and the facts: nothing of a caller's."""
    caplog.set_level(logging.DEBUG)
    heard_by(StateChangeLog(clock)).publish(change)
    (record,) = caplog.records
    assert line == (record.getMessage(), record.levelname)
    assert expected == facts(record)


@pytest.mark.parametrize(
    ("change", "count"),
    [(REFUSED, "calls"), (ConnectionCondemned(), "connections")],
    ids=["refusals", "condemned connections"],
)
async def test_what_is_frequent_does_not_flood_the_log(
    clock: FakeClock, caplog: pytest.LogCaptureFixture, change: Event, count: str
) -> None:
    """One line when it begins, then one in ten seconds, which says how many there were."""
    bus = heard_by(StateChangeLog(clock))
    for _ in range(1000):
        bus.publish(change)
    assert [1] == [facts(record)[count] for record in caplog.records]
    await clock.advance(REPEAT_SECONDS)
    bus.publish(change)
    assert [1, 1000] == [facts(record)[count] for record in caplog.records]
