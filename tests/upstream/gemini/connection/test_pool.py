"""How long a connection settles before it is used again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.upstream.gemini.connection.pool import Pool
from gemini_backend.upstream.gemini.options import GeminiOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Made = Callable[[float], tuple[Pool, list[int]]]


class Timer:
    """The part of an event loop that tells the time, which stands still."""

    def __init__(self) -> None:
        """Begin at some time."""
        self.now = 1000.0

    def time(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
async def made() -> AsyncIterator[Made]:
    """Return what makes a pool, and a list that grows with each stray that it tells of."""
    pools: list[tuple[Pool, Any]] = []

    def make(seconds: float) -> tuple[Pool, list[int]]:
        told: list[int] = []
        pool = Pool(GeminiOptions(settle_seconds=seconds), lambda: told.append(len(told)))
        pools.append((pool, asyncio.get_running_loop()))
        stopped: Any = Timer()
        pool._loop = stopped
        return pool, told

    yield make
    for pool, loop in pools:
        pool._loop = loop
        await pool.close()


async def test_whoever_sends_unasked_is_waited_for_longer(made: Made) -> None:
    """Twice as long each time, up to a second."""
    pool, told = made(0.1)
    seen = [pool._settling()]
    for _ in range(5):
        pool._stray(0.0)
        seen.append(pool._settling())
    assert [0.1, 0.2, 0.4, 0.8, 1.0, 1.0] == seen
    assert 5 == len(told)


async def test_it_is_as_it_was_after_a_minute(made: Made) -> None:
    """Without another."""
    pool, _ = made(0.1)
    timer: Any = pool._loop
    pool._stray(0.0)
    timer.now += 59
    pool._stray(0.5)
    timer.now += 59
    assert 0.4 == pool._settling()
    timer.now += 2
    assert 0.1 == pool._settling()


@pytest.mark.parametrize(
    ("seconds", "idle", "after"),
    [(0.1, 1.0, 0.1), (0.1, 30.0, 0.1), (0.0, 0.0, 0.0), (5.0, 0.0, 5.0)],
)
async def test_some_strays_change_nothing(
    made: Made, seconds: float, idle: float, after: float
) -> None:
    """What comes after a long silence; and where the setting says not at all, or longer already."""
    pool, told = made(seconds)
    pool._stray(idle)
    assert (after, 1) == (pool._settling(), len(told))
