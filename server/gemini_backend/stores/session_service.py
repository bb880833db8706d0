"""The store of sessions as a part of the server: where it is, how it is, what has expired."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.errors import ServiceError
from gemini_backend.stores.sessions_sqlite import SCHEMA, SqliteSessions
from gemini_backend.stores.sqlite import Database
from gemini_backend.telemetry.events import SILENT, SessionsCounted, SessionsExpired
from gemini_backend.telemetry.health.health_report import Component
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.wall_clock import TOLERANCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock
    from gemini_backend.config import Config
    from gemini_backend.config.sections.sessions import SessionsOptions
    from gemini_backend.stores.sessions import SessionStore
    from gemini_backend.telemetry.events import Publisher
    from gemini_backend.wall_clock import WallClock

FILE = "sessions.db"
# How many are deleted in one visit, so that turns do not wait long behind them.
_AT_ONCE = 100
# A time that is so long after the latest use of a session may be wrong, or the server was stopped.
_PLAUSIBLE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class SessionContext:
    """Where sessions are kept, by which options, at what time (seconds since the epoch).

    `sure` says whether that time may be what something is deleted for good by.
    """

    store: SessionStore
    options: Callable[[], SessionsOptions]
    wall: Callable[[], float]
    bus: Publisher = SILENT
    sure: Callable[[], bool] = lambda: True


class SessionStorage:
    """Makes the store, sweeps it, and says how it is.

    A server on which no session was ever used does not touch the disk.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        bus: Publisher,
        *,
        clock: Clock,
        wall: WallClock,
    ) -> None:
        """Make the store that the configuration names; nothing is opened yet."""
        options, folder = config().sessions, config().state.dir
        self._file = Path(folder).expanduser() / FILE if options.store == "sqlite" else None
        self._database = Database(
            self._file,
            SCHEMA,
            clock=clock,
            bus=bus,
            power=options.durability == "power",
        )
        self.store = SqliteSessions(self._database)
        self.context = SessionContext(self.store, lambda: config().sessions, wall, bus, self.sure)
        self._config = config
        self._bus = bus
        self._clock = clock
        self._wall = wall
        self._plausible: bool | None = None

    async def run(self) -> None:
        """Delete what has expired, now and from time to time, until cancelled."""
        while True:
            if self._database.used or self._database.problem or self._exists():
                await self._sweep()
            await self._clock.sleep(self._config().sessions.sweep_seconds)

    def sure(self) -> bool:
        """Return whether the time of day is certain enough to delete for good what has expired.

        It is once it is trusted; and from the start on if it fits to the latest use of a session,
        which this or another process has written, as long as it has not jumped since.
        """
        return self._wall.trusted() or bool(self._plausible and not self._wall.jumped)

    def component(self) -> Component:
        """Say how the store is; the server does without it, but for sessions."""
        problem = self._database.problem
        if problem:
            return Component("sessions", HealthState.DEGRADED, problem)
        if not self._database.used:
            return Component("sessions", HealthState.UNKNOWN, "no session has been used yet")
        return Component("sessions", HealthState.HEALTHY, "")

    async def aclose(self) -> None:
        """Close the store."""
        await self._database.aclose()

    def _exists(self) -> bool:
        return self._file is not None and self._file.exists()

    async def _sweep(self) -> None:
        try:
            if self._plausible is None:
                latest = await self.store.latest()
                age = 0.0 if latest is None else self._wall() - latest
                self._plausible = -TOLERANCE_SECONDS <= age <= _PLAUSIBLE_SECONDS
            while self.sure() and (gone := await self.store.sweep(self._wall(), _AT_ONCE)):
                self._bus.publish(SessionsExpired(gone))
            self._bus.publish(SessionsCounted(await self.store.count()))
        except ServiceError:
            return  # the store has noted it: health says so, and it is tried again
