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
from gemini_backend.stores.session_service import FILE, SessionStorage
from gemini_backend.stores.sessions import NewSession, Owner, SessionRow
from gemini_backend.telemetry.health.health_rules import HealthState
from gemini_backend.telemetry.metrics.session_counts import SessionCounts
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
    made = SessionStorage(lambda: config, heard_by(counts), clock=clock, wall=clock.now)
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
