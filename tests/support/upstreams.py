"""What a test asks of an upstream, and upstreams of its own that misbehave."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.process import Process

T = TypeVar("T")


async def stats_of(simulator: Process) -> dict[str, Any]:
    """Return a simulator's counts; the connection of this very question is one of them."""
    url = f"{simulator.http}/_simulator/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def until(
    look: Callable[[], Awaitable[T]], good: Callable[[T], bool], seconds: float = 5.0
) -> T:
    """Look again and again until it is good; return what was seen last.

    Raises:
        AssertionError: it has not become good within `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        seen = await look()
        if good(seen):
            return seen
        assert time.monotonic() < end, f"not within {seconds:g} s: {seen}"
        await asyncio.sleep(0.02)
