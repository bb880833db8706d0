"""The store as a part of the server: swept from time to time, and honest about how it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gemini_backend.config import Config
from gemini_backend.config.sections.operation import StateOptions
from gemini_backend.config.sections.sessions import SessionsOptions
from gemini_backend.errors import StoreUnavailable
from gemini_backend.principal import Owner
from gemini_backend.stores.session_service import FILE, SessionStorage
from gemini_backend.stores.sessions import NewSession, SessionRow
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.telemetry.metrics.listeners.session_counts import SessionCounts
from gemini_backend.wall_clock import CONFIRM_SECONDS, WallClock
from tests.support.messages.events import heard_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.clock import FakeClock

ANN = Owner("acme", "ann")
KEPT = SessionRow("s", 1, 1, b"", 1.0, 1.0, None)


@pytest.fixture
def counts() -> SessionCounts:
    """What happens to sessions, counted."""
    return SessionCounts()


@pytest.fixture
async def keeper(
    clock: FakeClock, tmp_path: Path, counts: SessionCounts
) -> AsyncIterator[SessionStorage]:
    """A keeper whose file does not exist yet."""
    config = Config(
        state=StateOptions(dir=str(tmp_path / "state")), sessions=SessionsOptions(sweep_seconds=10)
    )
    made = SessionStorage(
        lambda: config, heard_by(counts), clock=clock, wall=WallClock(clock.now, clock.now)
    )
    yield made
    await made.aclose()


async def swept(clock: FakeClock, keeper: SessionStorage, seconds: float) -> None:
    """Let the clock move, and the store's thread do what it was asked for."""
    await clock.advance(seconds)
    for _ in range(20):
        while keeper._database._waiting:
            await asyncio.sleep(0.001)
        await clock.advance(0)


async def test_what_was_never_used_touches_no_disk(
    clock: FakeClock, keeper: SessionStorage, tmp_path: Path
) -> None:
    """Without a file and without use nothing is made, and health says that it is not known."""
    sweeping = asyncio.create_task(keeper.run())
    await swept(clock, keeper, 100)
    assert HealthState.UNKNOWN is keeper.component().state
    assert not (tmp_path / "state").exists()
    sweeping.cancel()


async def test_sessions_are_swept(
    clock: FakeClock, keeper: SessionStorage, counts: SessionCounts
) -> None:
    """What expires is deleted within the time that is set, and counted."""
    for uid in range(1, 251):
        kept = replace(KEPT, session=f"s{uid}", uid=uid, expires=clock.now() + 8)
        await keeper.store.create(ANN, NewSession(kept), 1000)
    sweeping = asyncio.create_task(keeper.run())
    await swept(clock, keeper, 1)
    assert (250, 250) == (await keeper.store.count(), counts.sessions)
    await swept(clock, keeper, 10)
    assert (0, 250) == (await keeper.store.count(), counts.events["expired"])
    sweeping.cancel()


async def test_health_follows_the_store(
    clock: FakeClock, keeper: SessionStorage, tmp_path: Path
) -> None:
    """A store that fails is degraded, and says what to mend; mended it is healthy by itself."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnavailable):
        await keeper.store.create(ANN, NewSession(KEPT), 9)
    component = keeper.component()
    assert (HealthState.DEGRADED, False) == (component.state, component.essential)
    assert "move the file away" in component.message
    (tmp_path / "state" / FILE).unlink()
    sweeping = asyncio.create_task(keeper.run())
    await swept(clock, keeper, 1)
    assert HealthState.HEALTHY is keeper.component().state
    sweeping.cancel()


class Jumping:
    """The time of day, ahead or behind by as much as a test says."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.off = 0.0

    def __call__(self) -> float:
        return self._clock.now() + self.off


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_clock_that_jumps_deletes_nothing(
    clock: FakeClock, tmp_path: Path, counts: SessionCounts, *, trusted: bool
) -> None:
    """A month ahead for some seconds, soon after the start or later: no session is gone."""
    wall = Jumping(clock)
    config = Config(
        state=StateOptions(dir=str(tmp_path / "state")), sessions=SessionsOptions(sweep_seconds=1)
    )
    keeper = SessionStorage(
        lambda: config, heard_by(counts), clock=clock, wall=WallClock(wall, clock.now)
    )
    sweeping = asyncio.create_task(keeper.run())
    kept = replace(KEPT, created=clock.now(), used=clock.now(), expires=clock.now() + 86_400)
    await keeper.store.create(ANN, NewSession(kept), 9)
    await swept(clock, keeper, CONFIRM_SECONDS if trusted else 1)
    wall.off = 30 * 86_400
    for _ in range(3):
        await swept(clock, keeper, 1)
    # nor does a new session of its id take its place
    assert not keeper.context.sure()
    wall.off = 0
    await swept(clock, keeper, 1)
    assert 1 == await keeper.store.count()
    await swept(clock, keeper, 86_400 + CONFIRM_SECONDS)
    await swept(clock, keeper, 1)
    assert 0 == await keeper.store.count()
    sweeping.cancel()
    await keeper.aclose()


async def test_a_start_in_another_month_deletes_nothing_at_first(
    clock: FakeClock, tmp_path: Path, counts: SessionCounts
) -> None:
    """A time far after the latest use of a session is believed after 10 minutes."""
    config = Config(
        state=StateOptions(dir=str(tmp_path / "state")), sessions=SessionsOptions(sweep_seconds=1)
    )

    def keeper(off: float) -> SessionStorage:
        wall = WallClock(lambda: clock.now() + off, clock.now)
        return SessionStorage(lambda: config, heard_by(counts), clock=clock, wall=wall)

    first = keeper(0)
    kept = replace(KEPT, created=clock.now(), used=clock.now(), expires=clock.now() + 60)
    await first.store.create(ANN, NewSession(kept), 9)
    await first.aclose()
    second = keeper(30 * 86_400)
    sweeping = asyncio.create_task(second.run())
    await swept(clock, second, CONFIRM_SECONDS - 2)
    assert 1 == await second.store.count()
    for _ in range(10):
        await swept(clock, second, 1)
    assert 0 == await second.store.count()
    sweeping.cancel()
    await second.aclose()
