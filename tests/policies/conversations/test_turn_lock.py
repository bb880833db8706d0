"""One execution at a time works on a session; others wait or are refused, as it says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.errors import Conflict, DeadlinePassed, Overloaded
from tests.support.clock import settle
from tests.support.layers.session_layer import Desk, reply, texts

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

REFUSE, QUEUE = sessions.SESSION_CONCURRENCY_REFUSE, sessions.SESSION_CONCURRENCY_QUEUE


async def test_two_at_once_go_one_after_the_other(clock: FakeClock) -> None:
    """With QUEUE the second turn waits, and is sent with the first one's answer."""
    desk = Desk(clock, reply("one"), reply("two"))
    desk.model.seconds = 5
    await desk.create(concurrency=QUEUE)
    calls = [desk.call(), desk.call()]
    first, second = (
        asyncio.create_task(desk.ask(said, call=call))
        for said, call in zip("ab", calls, strict=True)
    )
    await clock.advance(5)
    assert (True, False) == (first.done(), second.done())
    await clock.advance(5)
    await second
    assert ["user: a", "model: one", "user: b"] == texts(desk.sent())
    assert [0, 5] == [call.outcome.queued_seconds for call in calls]
    assert 0 == len(desk.policy._lines)


@pytest.mark.parametrize("own", [True, False])
async def test_two_at_once_may_be_refused(clock: FakeClock, own: bool) -> None:
    """With REFUSE the second is ABORTED, be it that it came before the session was read."""
    desk = Desk(clock, concurrency="queue" if own else "refuse")
    desk.model.seconds = 5
    await desk.create(concurrency=REFUSE if own else 0)
    first = asyncio.create_task(desk.ask("a"))
    second = asyncio.create_task(desk.ask("b"))  # before the first has read anything
    await settle()
    with pytest.raises(Conflict):
        await desk.ask("c")
    with pytest.raises(Conflict):
        await second
    await clock.advance(5)
    await first
    assert 1 == desk.kept().turns
    await asyncio.gather(desk.ask("d"), clock.advance(5))


async def test_waiting_has_a_bound_in_number_and_time(clock: FakeClock) -> None:
    """Too many that wait are refused at once; who waits too long is told so."""
    desk = Desk(clock, max_waiting=1)
    desk.model.seconds = 60
    await desk.create()
    first = asyncio.create_task(desk.ask("a"))
    await settle()
    late = asyncio.create_task(desk.ask("b", call=desk.call(deadline=10)))
    await settle()
    with pytest.raises(Overloaded):
        await desk.ask("c")
    await clock.advance(10)
    with pytest.raises(DeadlinePassed):
        await late
    await clock.advance(50)
    await first
    assert 0 == len(desk.policy._lines)


async def test_who_leaves_the_line_lets_the_next_one_through(clock: FakeClock) -> None:
    """A waiter that goes away, even as its turn comes, holds nobody up."""
    desk = Desk(clock)
    desk.model.seconds = 5
    await desk.create()
    tasks = [asyncio.create_task(desk.ask(said)) for said in "abc"]
    await settle()
    tasks[0].cancel()
    await asyncio.sleep(0)  # the second has just been given the turn, and has not run yet
    tasks[1].cancel()
    await clock.advance(10)
    assert [True, True, False] == [task.cancelled() for task in tasks]
    assert ["user: c"] == texts(desk.sent())
    assert 0 == len(desk.policy._lines)
