"""A run is read by its only reader, and by a task of its own as soon as there are more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import DeadlinePassed
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.sharing.flight import Flight
from tests.support.clock import settle
from tests.support.layers.inproc import collect
from tests.support.layers.single_flight import SLOW, Sharing
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.counting_upstream import caller, ended, text_of

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_who_reads_alone_is_not_read_ahead_for(clock: FakeClock) -> None:
    """The only reader reads the run in its own task: upstream is asked when it asks."""
    sharing = Sharing(clock, started(), delta("a"), delta("b"), completed())
    events = sharing.open(caller(clock))
    await anext(events)
    flight = next(iter(sharing.coalesce._streams))
    assert isinstance(flight, Flight)
    await settle()
    lengths = [flight.tape.length]
    async for _ in events:
        await settle()
        lengths.append(flight.tape.length)
    assert [1, 2, 3, 4] == lengths


async def test_a_second_reader_gives_the_run_a_task_of_its_own_again(clock: FakeClock) -> None:
    """Who joins one that reads alone makes the run independent of it from the next event on."""
    sharing = Sharing(clock, *SLOW, delta("c"), 10, completed())
    first = sharing.read(caller(clock, "e1"))
    await clock.advance(5)
    second = sharing.read(caller(clock, "e2"))
    await clock.advance(6)
    first.cancel()
    await ended(clock, second)
    assert ("abc", 1) == (text_of(await second), sharing.upstream.runs)


async def test_the_first_to_be_told_the_end_pays(clock: FakeClock) -> None:
    """Who was there first and reads too slowly to see the end does not take the bill along."""
    sharing = Sharing(clock, *SLOW)
    calls = [caller(clock, name) for name in ("slow", "quick", "behind")]
    slow, quick, behind = [sharing.open(call) for call in calls]
    await anext(slow)
    begun = asyncio.ensure_future(anext(behind))
    await ended(clock, asyncio.ensure_future(collect(quick)))
    await begun
    await slow.aclose()
    assert "ab" == text_of([event async for event in behind])
    assert [False, True, False] == [call.outcome.pays for call in calls]


async def test_who_leaves_when_the_run_has_ended_leaves_the_bill_to_who_stays(
    clock: FakeClock,
) -> None:
    """Though nothing more comes of the run, somebody has yet to be told what it cost."""
    sharing = Sharing(clock, *SLOW)
    calls = [caller(clock, name) for name in ("first", "second")]
    first, second = [sharing.open(call) for call in calls]
    await anext(first)
    begun = asyncio.ensure_future(anext(second))
    await clock.advance(60)
    await begun
    await first.aclose()
    assert "ab" == text_of([event async for event in second])
    assert [False, True] == [call.outcome.pays for call in calls]


async def test_one_who_leaves_at_rest_hands_the_run_over(clock: FakeClock) -> None:
    """A reader that stands still between two events leaves the run to the one who waits."""
    sharing = Sharing(clock, *SLOW)
    first = sharing.open(caller(clock, "e1"))
    await anext(first)
    await anext(first)
    second = sharing.read(caller(clock, "e2"))
    await settle()
    await first.aclose()
    await ended(clock, second)
    assert ("ab", 1, 1) == (text_of(await second), sharing.upstream.runs, sharing.upstream.closed)


async def test_who_joins_just_before_the_only_reader_leaves_gets_a_run_of_its_own(
    clock: FakeClock,
) -> None:
    """It was handed nothing of the run that ends, so it gets one whole answer, and no failure."""
    sharing = Sharing(clock, *SLOW)
    first = sharing.read(caller(clock, "e1"))
    await clock.advance(5)
    late = caller(clock, "e2")
    second = sharing.read(late)
    await settle()
    first.cancel()
    await ended(clock, second)
    assert ("ab", 2, 2) == (text_of(await second), sharing.upstream.runs, sharing.upstream.closed)
    assert (True, 0, 0) == (late.outcome.pays, sharing.counts.coalesced, sharing.coalesce.running)


async def test_one_who_stands_still_does_not_keep_another_waiting(clock: FakeClock) -> None:
    """While the first reader takes nothing, who joins gets the whole answer in time."""
    sharing = Sharing(clock, *SLOW)
    first = sharing.open(caller(clock, "e1"))
    await anext(first)
    await anext(first)
    second = sharing.read(caller(clock, "e2"))
    await ended(clock, second)
    assert ("ab", 1) == (text_of(await second), sharing.upstream.runs)
    assert "b" == text_of([event async for event in first])


async def test_who_reads_alone_may_go_on_in_another_task(clock: FakeClock) -> None:
    """A layer of somebody's may begin in a task of its own; the deadline is kept all the same."""
    timeouts = AttemptTimeouts(ExecutionOptions, clock)
    sharing = Sharing(clock, started(), delta("a"), 1000, completed(), inside=(timeouts,))
    events = sharing.open(caller(clock, "e1", deadline=10))
    await asyncio.ensure_future(anext(events))
    reading = asyncio.ensure_future(collect(events))
    await clock.advance(11)
    with pytest.raises(DeadlinePassed):
        await reading
    assert (1, 0) == (sharing.upstream.closed, sharing.coalesce.running)
