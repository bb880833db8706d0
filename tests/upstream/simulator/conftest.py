"""A running simulator and short ways to talk to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from gemini_backend.upstream.simulator import Simulator, SimulatorOptions
from tests.upstream.simulator.talker import Build, Clock, Start, Talker, prompt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> Clock:
    """Time under control."""
    return Clock()


@pytest.fixture
async def start(clock: Clock) -> AsyncIterator[Start]:
    """Starts simulators with any options, and stops them in the end."""
    running: list[Simulator] = []
    # Google's own clients keep connections open; one for each request would hide leaks.
    session = aiohttp.ClientSession()

    async def begin(**options: Any) -> Talker:
        simulator = Simulator(SimulatorOptions(pause=clock.pause, now=clock, **options))
        await simulator.start()
        running.append(simulator)
        return Talker(simulator, session)

    yield begin
    await session.close()
    for simulator in running:
        await simulator.aclose()


@pytest.fixture
async def gemini(start: Start) -> Talker:
    """A simulator as it is by default."""
    return await start()


@pytest.fixture
def ask() -> Build:
    """Builds a request with one text and a generation configuration."""
    return prompt
