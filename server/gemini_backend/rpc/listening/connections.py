"""What is seen of the gRPC port's connections: how many there are, and handshakes that failed.

gRPC's core accepts connections and does TLS by itself, and reports no failure. Known of it are: it
asks for the certificates when a handshake begins, it lists the connections that are open, and RPCs
name their connection. What has begun, and has neither been listed nor made an RPC within the time
for handshakes, was refused or was given up by its client.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol

from gemini_backend.descriptors import none_left
from gemini_backend.telemetry.events import ConnectionRefused, DescriptorsRanOut
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import HealthState

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Publisher

# Between two looks at the list: at first after a handshake has begun, each time so much longer, and
# at last. A connection that makes no RPC and lasts shorter is not seen.
_FIRST_SECONDS, _LONGER, _LAST_SECONDS = 0.004, 1.5, 1.0
# What costs the loop least: with no handshake under way, all of it is done once in so long.
_COUNT_SECONDS = 10.0


_log = logging.getLogger(__name__)


class Listing(Protocol):
    """Whoever lists the open connections, by their peers."""

    def opened(self) -> list[str]:
        """Return those that have been opened since it was last asked."""
        ...

    async def all(self) -> set[str]:
        """Return all that are open."""
        ...


class Connections:
    """Counts them.

    Attributes:
        open: How many there are, as of the last count.
    """

    def __init__(
        self,
        bus: Publisher,
        clock: Clock,
        *,
        most: int,
        handshake_seconds: float,
        called: set[str] | None = None,
    ) -> None:
        """Know of none.

        Args:
            bus: Where refusals are published.
            clock: Where times are read.
            most: How many there may be.
            handshake_seconds: How long a handshake may take; 0 where there are none.
            called: Peers of RPCs since the last look, which empties it.
        """
        self.open = 0
        self._called = set() if called is None else called
        self._bus = bus
        self._clock = clock
        self._most = most
        self._patience = handshake_seconds
        self._begun = 0
        self._opened = 0
        self._refused = 0
        self._known: set[str] = set()
        self._snapshots: deque[tuple[float, int]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    def handshake_begins(self) -> None:
        """Count one more, soon; gRPC's threads call it."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._begins)

    def _begins(self) -> None:
        self._begun += 1
        self._wake.set()

    def component(self) -> Component:
        """Say whether there is room for more."""
        if self.open < self._most:
            return Component("connections", HealthState.HEALTHY, "")
        message = (
            f"the gRPC port has {self.open} connections, as many as it may: further ones are "
            "closed; raise server.max_connections or the limit of open files"
        )
        return Component("connections", HealthState.DEGRADED, message)

    async def run(self, listing: Listing) -> None:
        """Look at the connections again and again, until cancelled."""
        self._loop = asyncio.get_running_loop()
        counted, wait = float("-inf"), _LAST_SECONDS
        while True:
            self._wake.clear()
            if none_left():
                self._bus.publish(DescriptorsRanOut(""))
            now, before = self._clock.now(), self._begun
            self.look(listing, now)
            if now - counted >= _COUNT_SECONDS:
                counted = now
                await self._count(listing)
            if wait < _LAST_SECONDS:
                await self._clock.sleep(wait)
            else:
                await self._woken(_LAST_SECONDS if self._pending() else _COUNT_SECONDS)
            longer = min(wait * _LONGER, _LAST_SECONDS)
            wait = longer if self._begun == before else _FIRST_SECONDS

    def look(self, listing: Listing, now: float) -> None:
        """Count what has become of handshakes, at `now`."""
        begun = self._begun
        new = {*listing.opened(), *self._called} - self._known
        self._called.clear()
        self._known |= new
        if self._patience:
            self._opened += len(new)
        if not self._snapshots or self._snapshots[-1][1] != begun:
            self._snapshots.append((now, begun))
        settled = 0
        while self._snapshots and now - self._snapshots[0][0] >= self._patience:
            settled = self._snapshots.popleft()[1]
        failed = settled - self._opened - self._refused
        if failed > 0:
            self._refused += failed
            self._bus.publish(ConnectionRefused("grpc", "handshake", count=failed))

    async def _count(self, listing: Listing) -> None:
        """Count those that are open, and forget those that no longer are."""
        before = set(self._known)
        found = await listing.all()
        if len(found) >= self._most > self.open:
            _log.warning("grpc_connections_full", extra={"connections": len(found)})
        self.open = len(found)
        self._known -= before - found

    def _pending(self) -> int:
        """Return of how many handshakes it is not known yet what became of them."""
        return self._begun - self._opened - self._refused

    async def _woken(self, seconds: float) -> None:
        """Wait for the next handshake, or so long."""
        waits = [
            asyncio.ensure_future(self._wake.wait()),
            asyncio.ensure_future(self._clock.sleep(seconds)),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
