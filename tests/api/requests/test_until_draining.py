"""Watches end with the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gemini_backend.api.requests.until_draining import until_draining
from gemini_backend.errors import Draining
from gemini_backend.policies.base import opened
from tests.support.layers.inproc import collect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Source:
    """Yields numbers, then waits for ever; knows whether it was closed."""

    closed = False

    async def numbers(self, count: int, *, forever: bool) -> AsyncIterator[int]:
        """Yield so many numbers from 1."""
        try:
            for number in range(1, count + 1):
                yield number
            if forever:
                await asyncio.Event().wait()
        finally:
            self.closed = True


async def test_a_source_that_ends_ends_the_watch() -> None:
    """What ends by itself is handed on whole."""
    source = Source()
    items = until_draining(asyncio.Event(), source.numbers(3, forever=False))
    assert await collect(items) == [1, 2, 3]
    assert source.closed


async def test_stopping_ends_the_watch() -> None:
    """A watch that waits is ended by the drain, with a status that says so."""
    source, stop = Source(), asyncio.Event()
    async with opened(until_draining(stop, source.numbers(1, forever=True))) as items:
        assert await anext(items) == 1
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        stop.set()
        with pytest.raises(Draining):
            await waiting
    assert source.closed


async def test_leaving_closes_the_source() -> None:
    """Who leaves early, or is cancelled in a wait, leaves nothing behind."""
    source = Source()
    async with opened(until_draining(asyncio.Event(), source.numbers(1, forever=True))) as items:
        await anext(items)
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert source.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_failures_pass_through() -> None:
    """What the source raises arrives as it is."""

    async def broken() -> AsyncIterator[int]:
        yield 1
        msg = "broken"
        raise ValueError(msg)

    with pytest.raises(ValueError, match="broken"):
        await collect(until_draining(asyncio.Event(), broken()))
