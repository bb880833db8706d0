"""Connections that were refused are counted and logged.

Covers: telemetry/repeats.py, telemetry/events/connections.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.telemetry.events import Bus, ConnectionRefused
from gemini_backend.telemetry.refused_connections import RefusedConnections
from gemini_backend.telemetry.repeats import REPEAT_SECONDS

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


@pytest.fixture
def bus() -> Bus:
    """Carries the events."""
    return Bus()


@pytest.fixture
def refused(clock: FakeClock, bus: Bus) -> RefusedConnections:
    """Counts what the bus carries."""
    made = RefusedConnections(clock)
    made.listen(bus)
    return made


def test_each_refusal_is_counted(refused: RefusedConnections, bus: Bus) -> None:
    """By port and reason; what has not happened yet is shown as 0."""
    bus.publish(ConnectionRefused("web", "handshake", "10.0.0.1", "HTTP_REQUEST"))
    bus.publish(ConnectionRefused("grpc", "handshake", count=3))
    (family,) = refused.families()
    counts = dict(family.values)
    assert (1, 3, 0) == (
        counts["web", "handshake"],
        counts["grpc", "handshake"],
        counts["web", "slow"],
    )


async def test_a_flood_is_one_line_in_ten_seconds(
    refused: RefusedConnections, bus: Bus, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand refusals at once are two lines: the first one, and one with the rest."""
    assert list(refused.families())
    for _ in range(1000):
        bus.publish(ConnectionRefused("web", "handshake", "10.0.0.1", "HTTP_REQUEST"))
    await clock.advance(REPEAT_SECONDS)
    bus.publish(ConnectionRefused("web", "handshake", "10.0.0.2", "HTTP_REQUEST"))
    lines = [record.__dict__ for record in caplog.records]
    assert [1, 1000] == [line["count"] for line in lines]
    assert ("10.0.0.2", "HTTP_REQUEST") == (lines[1]["peer"], lines[1]["detail"])


def test_each_kind_has_its_own_lines(
    refused: RefusedConnections, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    """A flood of one kind does not hide the first of another."""
    bus.publish(ConnectionRefused("web", "slow", "10.0.0.1"))
    bus.publish(ConnectionRefused("web", "slow", "10.0.0.1"))
    bus.publish(ConnectionRefused("web", "malformed", "10.0.0.1"))
    assert ["slow", "malformed"] == [record.__dict__["reason"] for record in caplog.records]
    assert list(refused.families())
