"""A reader that leaves others behind hands the stream on: upstream is asked once, nothing is lost.

Covers: policies/sharing/lead.py, policies/watch.py
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.config.sections.answers import CoalesceOptions
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import DeadlinePassed, StreamCut
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.flight import Flight
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.policies.watch import Watch
from gemini_backend.telemetry.events import SILENT
from tests.support.clock import settle
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.counting_upstream import ask, caller, ended, text_of
from tests.support.upstreams.resumable_upstream import ResumableUpstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

PIECES = 6
STEPS = (1, started(), *(step for n in range(PIECES) for step in (1, delta(str(n)))), 1)
ALL = "".join(map(str, range(PIECES)))
NUMBERS = list(range(1, PIECES + 3))
# Half a second before an event, and just when it comes.
MOMENTS = [number / 2 for number in range(2 * PIECES + 4)]


class Shared:
    """Single flight within the numbering, round a stream that can be read on."""

    def __init__(
        self, clock: FakeClock, *steps: Any, same_bytes: bool = True, inside: Any = ()
    ) -> None:
        self.clock = clock
        self.upstream = ResumableUpstream(clock, *(steps or (*STEPS, completed())))
        self.coalesce = SingleFlight(CoalesceOptions, clock)
        self.coalesce.same_bytes = same_bytes
        self.calls: list[Call] = []
        pipeline = Pipeline(ExecutionEvents(clock, SILENT), self.coalesce, *inside)
        self._opens = pipeline.stream(self.upstream.stream)

    def open(self, deadline: float | None = None) -> Any:
        """Return the events of one more call."""
        call = caller(self.clock, f"e{len(self.calls)}", deadline)
        self.calls.append(call)
        return self._opens(call, ask())

    def read(self, deadline: float | None = None) -> asyncio.Task[list[Any]]:
        """Read the events of one more call."""
        return asyncio.ensure_future(collect(self.open(deadline)))

    def payers(self) -> int:
        """Return how many of all calls pay."""
        return sum(call.outcome.pays for call in self.calls)


def has_all(call: Call, events: list[Any]) -> bool:
    """Say whether a call was told everything once, in order, with numbers of its own."""
    return (ALL, [(call.execution, number) for number in NUMBERS]) == (
        text_of(events),
        [(event.execution, event.sequence) for event in events],
    )


@pytest.mark.parametrize("same_bytes", [True, False])
@pytest.mark.parametrize("leaves", MOMENTS)
async def test_the_first_may_leave_at_any_moment(
    clock: FakeClock, leaves: float, same_bytes: bool
) -> None:
    """Whenever another has joined, and however long ago: one run, which the other pays."""
    for joins in (moment for moment in MOMENTS if moment <= leaves):
        shared = Shared(clock, same_bytes=same_bytes)
        first = shared.read()
        await clock.advance(joins)
        second = shared.read()
        await clock.advance(leaves - joins)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert has_all(shared.calls[1], await ended(clock, second))
        assert (1, 1, 1, 0) == (
            shared.upstream.runs,
            shared.upstream.closed,
            shared.payers(),
            shared.coalesce.running,
        )


@pytest.mark.parametrize("joined", ["before", "after"])
@pytest.mark.parametrize("seen", range(1, PIECES + 2))
async def test_the_first_may_leave_at_rest(clock: FakeClock, seen: int, joined: str) -> None:
    """A reader that is closed between two events, as when a write fails, hands the stream on."""
    shared = Shared(clock)
    events = shared.open()
    second = shared.read() if joined == "before" else None
    for _ in range(seen):
        await ended(clock, asyncio.ensure_future(anext(events)))
    second = second or shared.read()
    await settle()
    await events.aclose()
    assert has_all(shared.calls[1], await ended(clock, second))
    assert (1, 1, 1) == (shared.upstream.runs, shared.upstream.closed, shared.payers())


@pytest.mark.parametrize("seed", range(60))
async def test_whoever_comes_and_goes_upstream_is_asked_once(clock: FakeClock, seed: int) -> None:
    """As long as somebody is on board; each who stays has all of it, and exactly one pays."""
    random = Random(seed)
    shared = Shared(clock, same_bytes=bool(seed % 2))
    stay = [shared.read()] if random.random() < 0.5 else []
    go = [] if stay else [shared.read()]
    for moment in range(2 * PIECES):
        if random.random() < 0.4:
            (stay if random.random() < 0.5 else go).append(shared.read())
        await clock.advance(random.choice([0, 0.5, 0.5, 1]) if moment else 0)
        if shared.upstream.closed:
            break
        if stay and go and random.random() < 0.6:
            task = go.pop(random.randrange(len(go)))
            task.cancel()
            if random.random() < 0.5:
                await settle()
    left = [*stay, *go]
    for task in left:
        await ended(clock, task)
    whole = {tuple(event.sequence for event in task.result()) for task in left}
    assert {tuple(NUMBERS)} == whole
    assert {ALL} == {text_of(task.result()) for task in left}
    assert (shared.upstream.runs, 0) == (shared.upstream.closed, shared.coalesce.running)
    assert shared.upstream.runs == shared.payers()


async def test_who_reads_alone_is_interrupted_for_who_joins(clock: FakeClock) -> None:
    """It notices nothing of it; the newcomer has at once what is there."""
    shared = Shared(clock)
    first = shared.read()
    await clock.advance(2.5)
    events = shared.open()
    seen = [await anext(events), await anext(events)]
    assert ["started", "delta"] == [event.WhichOneof("event") for event in seen]
    assert has_all(shared.calls[0], await ended(clock, first))
    assert has_all(shared.calls[1], seen + await collect(events))


async def test_each_keeps_its_deadline_though_the_stream_goes_on(clock: FakeClock) -> None:
    """Who has read alone fails at its own time; who has joined reads on."""
    timeouts = AttemptTimeouts(ExecutionOptions, clock)
    shared = Shared(clock, inside=(timeouts,))
    hasty = shared.read(deadline=3.5)
    await clock.advance(1.5)
    patient = shared.read(deadline=60)
    await clock.advance(2.2)
    with pytest.raises(DeadlinePassed, match=r"deadline of 3\.5 s"):
        await hasty
    assert has_all(shared.calls[1], await ended(clock, patient))
    assert (1, 1) == (shared.upstream.runs, shared.payers())


async def test_a_time_of_the_run_ends_it_for_all(clock: FakeClock) -> None:
    """Though its reader was interrupted meanwhile, silence is counted from where it began."""
    options = ExecutionOptions(idle_timeout_seconds=5)
    timeouts = AttemptTimeouts(lambda: options, clock)
    shared = Shared(clock, started(), 100, completed(), inside=(timeouts,))
    first = shared.read()
    await clock.advance(1)
    second = shared.read()
    await clock.advance(6)
    failed = await asyncio.gather(first, second, return_exceptions=True)
    assert ["UPSTREAM_IDLE_TIMEOUT"] * 2 == [getattr(one, "reason", one) for one in failed]
    assert 1 == shared.upstream.runs


async def test_a_failure_of_the_run_is_told_to_who_joined(clock: FakeClock) -> None:
    """With all that came before it."""
    shared = Shared(clock, started(), 2, delta("a"), 2, StreamCut("cut"))
    first = shared.read()
    await clock.advance(1)
    events = shared.open()
    seen = [await anext(events), await ended(clock, asyncio.ensure_future(anext(events)))]
    assert "a" == text_of(seen)
    await clock.advance(3)
    with pytest.raises(StreamCut):
        await anext(events)
    with pytest.raises(StreamCut):
        await first


async def test_nothing_is_kept_beyond_the_bound_for_who_reads_alone(clock: FakeClock) -> None:
    """What nobody can join any more is not kept, and its bytes are given back."""
    grown: list[int] = []
    pieces = [delta("x" * 60_000) for _ in range(40)]
    upstream = ResumableUpstream(clock, started(), *pieces, completed())
    options = CoalesceOptions(buffer_mb=1)
    coalesce = SingleFlight(lambda: options, clock, on_growth=grown.append)
    events = Pipeline(coalesce).stream(upstream.stream)(caller(clock), ask())
    seen = [await anext(events) for _ in range(30)]
    flight = next(iter(coalesce._streams))
    assert isinstance(flight, Flight)
    assert (30, 0, 0) == (len(seen), flight.tape.bytes, sum(grown))
    await collect(events)
    assert (0, 0) == (sum(grown), coalesce.running)


async def test_what_was_kept_for_followers_is_given_back(clock: FakeClock) -> None:
    """When the last of them has read it, or has left."""
    grown: list[int] = []
    upstream = ResumableUpstream(clock, started(), 1, delta("x" * 9_000), 1, completed())
    coalesce = SingleFlight(CoalesceOptions, clock, on_growth=grown.append)
    opens = Pipeline(coalesce).stream(upstream.stream)
    first, second = opens(caller(clock), ask()), opens(caller(clock), ask())
    await asyncio.gather(anext(first), anext(second))
    await clock.advance(1)
    await anext(first)
    assert sum(grown) > 9_000
    await first.aclose()
    await second.aclose()
    assert (0, 0) == (sum(grown), coalesce.running)


async def test_who_waits_for_a_stream_that_cannot_be_parted_keeps_its_deadline(
    clock: FakeClock,
) -> None:
    """Its reader waits, in a stream that a cancel would lose: it is waited for, for a time."""

    async def foreign(_call: Any, _request: Any) -> Any:
        yield started()
        await clock.sleep(10)
        yield completed()

    opens = Pipeline(SingleFlight(CoalesceOptions, clock)).stream(foreign)
    first = asyncio.ensure_future(collect(opens(caller(clock), ask())))
    await clock.advance(1)
    late = asyncio.ensure_future(collect(opens(caller(clock, deadline=3), ask())))
    await clock.advance(3.5)
    with pytest.raises(DeadlinePassed):
        await late
    assert 2 == len(await ended(clock, first))


class Noted(Watch):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def event(self, event: Any, _delta: Any, /) -> None:
        self.told.append(event)

    def end(self, error: BaseException | None, /) -> None:
        self.told.append(error)


async def test_watches_further_out_stay_with_the_reader(clock: FakeClock) -> None:
    """When a stream is parted they see what it reads from then on, and each end once."""
    upstream = ResumableUpstream(clock, started(), 1, delta("a"), completed())
    outer = Noted()
    opens = Pipeline(SingleFlight(CoalesceOptions, clock)).open(upstream.stream)
    first = await opens(caller(clock), ask())
    assert isinstance(first, EventStream)
    first.watch(outer)
    second = await opens(caller(clock), ask())
    await clock.advance(1)
    assert 3 == len(await collect(first))
    assert 3 == len(await collect(second))
    assert ["started", "delta", "completed", None] == [
        one and one.WhichOneof("event") for one in outer.told
    ]


class Turning:
    """An upstream of which each event takes some turns of the event loop."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.open = 0

    async def stream(self, _call: Any, _request: Any) -> AsyncIterator[Any]:
        self.open += 1
        try:
            for event in (started(), delta("a"), delta("b"), completed()):
                for _ in range(self.turns):
                    await asyncio.sleep(0)
                yield event
        finally:
            self.open -= 1


@pytest.mark.parametrize("turn", range(24))
@pytest.mark.parametrize("turns", [1, 3])
async def test_another_may_come_at_any_turn(clock: FakeClock, turns: int, turn: int) -> None:
    """Whenever it joins, both get the whole answer, and nothing stays open behind them."""
    upstream = Turning(turns)
    options = CoalesceOptions()
    coalesce = SingleFlight(lambda: options, clock)
    run = Pipeline(coalesce).stream(upstream.stream)
    first = asyncio.ensure_future(collect(run(caller(clock, "e1"), ask())))
    for _ in range(turn):
        await asyncio.sleep(0)
    second = asyncio.ensure_future(collect(run(caller(clock, "e2"), ask())))
    answers = await asyncio.gather(first, second)
    assert ["ab", "ab"] == [text_of(events) for events in answers]
    assert ["completed", "completed"] == [events[-1].WhichOneof("event") for events in answers]
    assert (0, 0) == (upstream.open, coalesce.running)


@pytest.mark.parametrize("turn", range(24))
@pytest.mark.parametrize("later", range(4))
@pytest.mark.parametrize("which", [0, 1])
async def test_either_may_leave_at_any_turn(
    clock: FakeClock, which: int, later: int, turn: int
) -> None:
    """Whoever stays gets the whole answer, and nothing stays open behind them."""
    upstream = Turning(2)
    options = CoalesceOptions()
    coalesce = SingleFlight(lambda: options, clock)
    run = Pipeline(coalesce).stream(upstream.stream)
    both = [asyncio.ensure_future(collect(run(caller(clock, "e1"), ask())))]
    for _ in range(turn):
        await asyncio.sleep(0)
    both.append(asyncio.ensure_future(collect(run(caller(clock, "e2"), ask()))))
    for _ in range(later):
        await asyncio.sleep(0)
    both[which].cancel()
    events = await both[1 - which]
    assert ("ab", "completed") == (text_of(events), events[-1].WhichOneof("event"))
    await asyncio.gather(*both, return_exceptions=True)
    await settle()
    assert (0, 0) == (upstream.open, coalesce.running)
