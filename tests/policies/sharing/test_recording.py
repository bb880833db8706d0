"""An event's bytes are made once: for the wire, for the journal, for those that share the run.

Covers: policies/sharing/detached_run.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.answers import CoalesceOptions
from gemini_backend.memory import MemoryBudget, Purpose
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.policies.sharing.flight import Flight
from gemini_backend.policies.sharing.journal import Journal
from gemini_backend.policies.sharing.journal_store import PASSING_BYTES
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.telemetry.events import SILENT
from tests.support.layers.inproc import collect
from tests.support.layers.journal import KEEP, Kept
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.counting_upstream import ask, caller, ended
from tests.support.upstreams.resumable_upstream import ResumableUpstream

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

STEPS = (started(), 1, delta("a" * 100), 1, delta("b" * 100), 1, completed(9))


def chain(clock: FakeClock, *, raw: bool, memory: MemoryBudget | None = None) -> Kept:
    """Return a journal round the numbering round single flight."""
    coalesce = SingleFlight(CoalesceOptions, clock)
    coalesce.same_bytes = raw
    kept = Kept(clock, inside=(coalesce,))
    if memory is not None:
        kept.journal = Journal(lambda: kept.options, clock, memory=memory)
        kept.pipeline = Pipeline(kept.journal, ExecutionEvents(clock, SILENT), coalesce)
    kept.journal.hands_on_bytes = raw
    kept.upstream = ResumableUpstream(clock, *STEPS)  # type: ignore[assignment] # can be read on
    return kept


async def said(clock: FakeClock, *, raw: bool, how: Any) -> list[list[Any]]:
    """Return what a leader, a follower, and who resumes the leader's stream are told."""
    kept = chain(clock, raw=raw)
    leader = kept.open("e1", how)
    first = [await anext(leader), await ended(clock, asyncio.ensure_future(anext(leader)))]
    follower = asyncio.ensure_future(collect(kept.open("e2", how)))
    first += await ended(clock, asyncio.ensure_future(collect(leader)))
    told = [first, await follower, await collect(kept.resume(1, "e1"))]
    if raw:
        assert {bytes} == {type(event) for events in told for event in events}
        told = [[pb.ExecuteResponse.FromString(data) for data in events] for events in told]
    return told


@pytest.mark.parametrize("how", [None, KEEP], ids=["cancel", "keep"])
async def test_bytes_say_what_messages_say(clock: FakeClock, how: Any) -> None:
    """Field for field, to whoever leads, follows or resumes."""
    raw = await said(clock, raw=True, how=how)
    messages = await said(clock, raw=False, how=how)
    for events in (*raw, *messages):
        events[-1].completed.ClearField("timing")
        for attempt in events[-1].completed.attempts:
            attempt.ClearField("duration")
    assert messages == raw
    assert [[1, 2, 3, 4], [1, 2, 3, 4], [2, 3, 4]] == [
        [event.sequence for event in events] for events in raw
    ]
    assert ["e1", "e2", "e1"] == [events[-1].execution for events in raw]
    assert pb.CACHE_STATUS_COALESCED == raw[1][0].started.cache_status


@pytest.mark.parametrize("how", [None, KEEP], ids=["cancel", "keep"])
@pytest.mark.parametrize("joined", [False, True])
async def test_no_delta_is_held_twice(clock: FakeClock, how: Any, joined: bool) -> None:
    """What the journal and a shared run keep are the same bytes, before and after it is joined."""
    kept = chain(clock, raw=True)
    leader = kept.open("e1", how)
    await anext(leader)
    if joined:
        await anext(kept.open("e2", how))
    for _ in range(2):
        await ended(clock, asyncio.ensure_future(anext(leader)))
    coalesce = kept.pipeline.layers[-1]
    (flight,) = coalesce._streams
    assert isinstance(flight, Flight)
    records = [one.buffer._kept for one in kept.journal.store._running.values()]
    own = flight.tape._kept
    assert 3 == len(own)
    kept_by_both = [any(data is one[n] for one in records) for n, data in enumerate(own)]
    assert [False, True, True] == kept_by_both
    await leader.aclose()


async def test_what_the_journal_keeps_is_counted(clock: FakeClock) -> None:
    """In the budget of the process's memory, until it is let go."""
    memory = MemoryBudget(lambda: 1 << 30, clock)
    kept = chain(clock, raw=True, memory=memory)
    await ended(clock, asyncio.ensure_future(collect(kept.open())))
    counted = memory.account(Purpose.JOURNAL)
    assert counted.bytes == kept.journal.store.bytes > 200
    await clock.advance(301)
    assert (0, 0) == (counted.bytes, kept.journal.store.bytes)


async def test_kept_executions_give_way_where_memory_is_short(clock: FakeClock) -> None:
    """Those that have ended go, of the tenant that holds the most, the one that ended first."""
    memory = MemoryBudget(lambda: 1 << 30, clock)
    kept = chain(clock, raw=True, memory=memory)
    for name, tenant in (("a1", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b")):
        await ended(clock, asyncio.ensure_future(collect(kept.open(name, tenant=tenant))))
    kept.journal.store._give_way(100)
    assert ["a1", "b2", "b3"] == list(kept.journal.store._ended)


async def test_a_tenants_own_executions_go_first(clock: FakeClock) -> None:
    """Where the journal is full, one tenant's new executions displace none of another's."""
    kept = chain(clock, raw=False)
    kept.set(max_executions=3)
    for name, tenant in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("b3", "b")):
        await ended(clock, asyncio.ensure_future(collect(kept.open(name, tenant=tenant))))
    assert ["a1", "a2", "b3"] == list(kept.journal.store._ended)


async def test_a_hit_is_kept_and_handed_on_as_the_same_bytes(clock: FakeClock) -> None:
    """What is there at once is made bytes of once."""
    kept = chain(clock, raw=True)

    async def whole(_call: Any, _request: Any) -> EventStream:
        return EventStream([started(), delta("a"), completed()])

    events = await kept.journal.stream(caller(clock), ask(), whole)
    (record,) = kept.journal.store._ended.values()
    pairs = zip(events.ahead, record.buffer._kept, strict=True)
    assert [True] * 3 == [one is other for one, other in pairs]


async def streamed(clock: FakeClock, kept: Kept, name: str, how: Any) -> tuple[int, int]:
    """Return what the journal keeps of a running execution of 200 KB, and from which event on."""
    kept.upstream = ResumableUpstream(  # type: ignore[assignment] # can be read on
        clock, started(), *(delta("x" * 1000) for _ in range(200)), 1, completed(9)
    )
    reading = kept.open(name, how)
    for _ in range(201):
        await ended(clock, asyncio.ensure_future(anext(reading)))
    place = kept.journal.store.place_of(name)
    found = (kept.journal.store.bytes, -1 if place is None else place.first)
    await reading.aclose()
    return found


@pytest.mark.parametrize(
    ("most", "how", "whole"), [(1, None, True), (0, None, False), (0, KEEP, True)]
)
async def test_who_ends_with_its_caller_keeps_little_where_many_run(
    clock: FakeClock, most: int, how: Any, *, whole: bool
) -> None:
    """Beyond the bound of those that run, one that nobody asked to keep drops its oldest events."""
    kept = chain(clock, raw=True)
    kept.options = replace(kept.options, max_running_mb=most)
    size, first = await streamed(clock, kept, "e1", how)
    assert (whole, whole) == (first == 0, size > 200_000)
    assert whole or size < PASSING_BYTES + 10_000
