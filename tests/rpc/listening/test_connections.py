"""What is seen of the gRPC port's connections."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from gemini_backend.rpc.listening.connections import Connections
from gemini_backend.telemetry.events import Bus, ConnectionRefused
from gemini_backend.telemetry.health.health_rules import HealthState

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

PATIENCE = 10.0


class Listed:
    """Lists what a test says."""

    def __init__(self) -> None:
        self.new = 0
        self.open: set[str] = set()
        self._ports = itertools.count(50_000)

    def opened(self) -> list[str]:
        """Return what is new, once."""
        new = [f"ipv4:127.0.0.1:{next(self._ports)}" for _ in range(self.new)]
        self.new = 0
        self.open.update(new)
        return new

    async def all(self) -> set[str]:
        """Return those that are open."""
        return set(self.open)


@pytest.fixture
def listed() -> Listed:
    """The connections that there are."""
    return Listed()


@pytest.fixture
def refused() -> list[int]:
    """How many were reported as refused, report by report."""
    return []


@pytest.fixture
def called() -> set[str]:
    """Peers of RPCs."""
    return set()


@pytest.fixture
def connections(clock: FakeClock, refused: list[int], called: set[str]) -> Connections:
    """What counts them."""
    bus = Bus()
    bus.subscribe(ConnectionRefused, lambda event: refused.append(event.count))
    return Connections(bus, clock, most=3, handshake_seconds=PATIENCE, called=called)


def test_a_handshake_that_becomes_a_connection_is_none_of_the_refused(
    connections: Connections, listed: Listed, refused: list[int]
) -> None:
    """What has begun and is listed was let in."""
    connections._begins()
    listed.new = 1
    for now in (0.0, PATIENCE, 2 * PATIENCE):
        connections.look(listed, now)
    assert [] == refused


def test_a_handshake_that_never_ends_is_refused(
    connections: Connections, listed: Listed, refused: list[int]
) -> None:
    """Once its time is over, and not before; it is reported once."""
    for _ in range(3):
        connections._begins()
    listed.new = 1
    connections.look(listed, 0.0)
    connections.look(listed, PATIENCE - 0.1)
    assert [] == refused
    connections.look(listed, PATIENCE)
    connections.look(listed, 3 * PATIENCE)
    assert [2] == refused


def test_an_rpc_proves_its_connection(
    connections: Connections, listed: Listed, refused: list[int], called: set[str]
) -> None:
    """A connection that was gone before it was listed counts if it made an RPC, and once."""
    connections._begins()
    called.add("ipv4:127.0.0.1:1")
    connections.look(listed, 0.0)
    called.add("ipv4:127.0.0.1:1")
    connections._begins()
    connections.look(listed, 1.0)
    connections.look(listed, 1.0 + PATIENCE)
    assert [1] == refused


def test_later_connections_do_not_hide_it_for_good(
    connections: Connections, listed: Listed, refused: list[int]
) -> None:
    """Handshakes that go on while others fail delay the report, and nothing is lost."""
    connections._begins()
    for second in range(30):
        connections._begins()
        listed.new = 1
        connections.look(listed, float(second))
    connections.look(listed, 30.0 + PATIENCE)
    assert 1 == sum(refused)


def test_without_tls_nothing_is_refused(clock: FakeClock, listed: Listed) -> None:
    """Connections that need no handshake are none of those that failed."""
    refused: list[int] = []
    bus = Bus()
    bus.subscribe(ConnectionRefused, lambda event: refused.append(event.count))
    connections = Connections(bus, clock, most=9, handshake_seconds=0.0)
    for second in range(30):
        listed.new = 1
        connections.look(listed, float(second))
    assert [] == refused


async def test_threads_of_others_count(
    connections: Connections, listed: Listed, clock: FakeClock, refused: list[int]
) -> None:
    """A handshake that begins in a thread of gRPC's is counted on the loop, and wakes it."""
    running = asyncio.ensure_future(connections.run(listed))
    await clock.advance(0.0)
    await asyncio.gather(*(asyncio.to_thread(connections.handshake_begins) for _ in range(20)))
    for _ in range(30):
        await clock.advance(1.0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert 20 == sum(refused)


async def test_health_says_that_there_is_no_room(
    connections: Connections, listed: Listed, clock: FakeClock
) -> None:
    """With as many connections as there may be, the component is degraded."""
    assert HealthState.HEALTHY == connections.component().state
    listed.new = 3
    running = asyncio.ensure_future(connections.run(listed))
    await clock.advance(0.0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    found = connections.component()
    assert (3, HealthState.DEGRADED) == (connections.open, found.state)
    assert "server.max_connections" in found.message
