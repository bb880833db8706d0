"""Coroutines that are begun before they are awaited."""

from __future__ import annotations

import asyncio

import pytest

from gemini_backend.rpc.interceptors.begun import Begun


async def noting(notes: list[str], *waits: asyncio.Future[None]) -> None:
    """Note the beginning and the end, and wait for futures in between."""
    notes.append("begun")
    try:
        for future in waits:
            await future
    finally:
        notes.append("ended")


async def test_it_begins_before_it_is_awaited() -> None:
    """What comes before the first wait has happened when it is made; the rest when awaited."""
    notes: list[str] = []
    futures = [asyncio.get_running_loop().create_future() for _ in range(2)]
    begun = Begun(noting(notes, *futures))
    assert ["begun"] == notes
    for future in futures:
        future.set_result(None)
    await begun
    assert ["begun", "ended"] == notes


async def test_waiting_for_it_waits_for_each_of_its_futures() -> None:
    """Whoever awaits it goes on when all of it is done."""
    notes: list[str] = []
    first, second = (asyncio.get_running_loop().create_future() for _ in range(2))
    begun = Begun(noting(notes, first, second))

    async def waits() -> None:
        await begun

    waiting = asyncio.ensure_future(waits())
    for future in (first, second):
        await asyncio.sleep(0)
        assert ["begun"] == notes
        future.set_result(None)
    await waiting
    assert ["begun", "ended"] == notes


async def test_one_that_does_not_wait_is_done_at_once() -> None:
    """Awaiting it costs no turn of the loop then, and may be done again."""
    notes: list[str] = []
    begun = Begun(noting(notes))
    assert ["begun", "ended"] == notes
    await begun
    await begun
    assert ["begun", "ended"] == notes


async def test_what_it_raises_is_raised_where_it_happens() -> None:
    """Before the first wait at once, after it by `await`."""

    async def failing(*waits: asyncio.Future[None]) -> None:
        for future in waits:
            await future
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Begun(failing())
    future = asyncio.get_running_loop().create_future()
    begun = Begun(failing(future))
    future.set_result(None)
    with pytest.raises(ZeroDivisionError):
        await begun


async def test_a_cancel_while_it_is_awaited_ends_it() -> None:
    """The future that it waits for is cancelled, and the coroutine is closed."""
    notes: list[str] = []
    future = asyncio.get_running_loop().create_future()
    begun = Begun(noting(notes, future))

    async def waits() -> None:
        await begun

    waiting = asyncio.ensure_future(waits())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (True, ["begun", "ended"]) == (future.cancelled(), notes)


async def test_one_that_is_dropped_ends_without_a_word() -> None:
    """It is closed, and a failure of what it waits for is nobody's any more."""
    notes: list[str] = []
    future = asyncio.get_running_loop().create_future()
    begun = Begun(noting(notes, future))
    begun.drop()
    assert (True, ["begun", "ended"]) == (future.cancelled(), notes)
    await begun
