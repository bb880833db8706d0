"""Answers that never end by themselves: they end when the server stops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from gemini_backend.errors import Draining
from gemini_backend.policies.base import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")


async def until_draining(stop: asyncio.Event, source: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield what `source` yields until it ends or `stop` is set.

    Raises:
        Draining: the server is stopping; otherwise a watcher would hold it up to the last second.
    """
    stopped: asyncio.Task[Any] = asyncio.create_task(stop.wait())
    async with opened(source) as items:
        try:
            while True:
                item = await _next_or_none(items, stopped)
                if item is None:
                    return
                yield item
        finally:
            stopped.cancel()


async def _next_or_none(items: AsyncIterator[T], stopped: asyncio.Task[Any]) -> T | None:
    step: asyncio.Task[Any] = asyncio.create_task(_step(items))
    try:
        await asyncio.wait({step, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not step.done():
            step.cancel()
            await asyncio.wait({step})
    if stopped.done():
        msg = "the server is stopping; watch another server, or this one after its restart"
        raise Draining(msg)
    item: T | None = step.result()
    return item


async def _step(items: AsyncIterator[T]) -> T | None:
    return await anext(items, None)
