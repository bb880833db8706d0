"""Identical calls share one run, and none of them harms another.

Covers: policies/sharing/replay_buffer.py, policies/sharing/reader.py,
policies/sharing/whole_flight.py, policies/sharing/following.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import ExecutionFailure
from gemini_backend.config.sections.answers import CacheOptions
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import DeadlinePassed, Draining, Overloaded, StreamCut
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.policies.cache.fill import CacheFill
from gemini_backend.policies.cache.lookup import CacheLookup
from gemini_backend.policies.outcome.execution_events import ExecutionEvents
from gemini_backend.policies.sharing.replay_buffer import AHEAD_BYTES
from gemini_backend.principal import Principal
from gemini_backend.stores.memory_answers import MemoryAnswers
from gemini_backend.telemetry.events import SILENT, ExecutionCoalesced
from tests.support.clock import settle
from tests.support.layers.alone import Alone
from tests.support.layers.inproc import collect
from tests.support.layers.recorder import Recorder
from tests.support.layers.single_flight import SLOW, Sharing
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.counting_upstream import (
    GOOD,
    answer_of,
    ask,
    caller,
    ended,
    text_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

MIB = 1024 * 1024


async def test_who_shares_whose_run_is_published(clock: FakeClock) -> None:
    """Of each that joined, the execution whose run it is."""
    sharing = Sharing(clock, *SLOW)
    heard = Recorder(sharing.bus)
    tasks = [sharing.read(caller(clock, f"e{number}")) for number in range(3)]
    await ended(clock, tasks[0])
    await asyncio.gather(*tasks)
    assert [ExecutionCoalesced("e1", "e0"), ExecutionCoalesced("e2", "e0")] == heard.events


async def test_a_hundred_identical_streams_make_one_upstream_call(clock: FakeClock) -> None:
    """All get the whole answer, numbered for themselves; one pays, the others are told."""
    sharing = Sharing(clock, *SLOW, outside=(ExecutionEvents(clock, SILENT),))
    calls = [caller(clock, f"e{number}") for number in range(100)]
    tasks = [sharing.read(call) for call in calls]
    await ended(clock, tasks[0])
    answers = await asyncio.gather(*tasks)
    assert (1, 1, 99) == (sharing.upstream.runs, sharing.upstream.closed, sharing.counts.coalesced)
    for call, events in zip(calls, answers, strict=True):
        assert "ab" == text_of(events)
        assert [(call.execution, n) for n in (1, 2, 3, 4)] == [
            (event.execution, event.sequence) for event in events
        ]
        assert 1 == len(events[-1].completed.attempts)
    statuses = [events[0].started.cache_status for events in answers]
    assert 1 == statuses.count(pb.CACHE_STATUS_UNSPECIFIED)
    assert 99 == statuses.count(pb.CACHE_STATUS_COALESCED)
    assert 1 == sum(call.outcome.pays for call in calls)
    assert 0 == sharing.coalesce.running


async def test_identical_whole_answers_make_one_upstream_call(clock: FakeClock) -> None:
    """Process is shared too; each caller has a message of its own."""
    sharing = Sharing(clock, 5, answer_of("whole"))
    tasks = [sharing.whole(caller(clock, f"e{number}")) for number in range(10)]
    await ended(clock, tasks[0])
    answers = await asyncio.gather(*tasks)
    assert (1, ["whole"] * 10) == (sharing.upstream.runs, [text_of([one]) for one in answers])
    assert 10 == len({id(one) for one in answers})
    assert 9 == sum(one.started.cache_status == pb.CACHE_STATUS_COALESCED for one in answers)


async def test_who_comes_late_is_given_what_is_there_and_then_follows(clock: FakeClock) -> None:
    """A caller who joins in the middle misses nothing."""
    sharing = Sharing(clock, *SLOW)
    first = sharing.read(caller(clock, "e1"))
    await clock.advance(11)
    second = sharing.read(caller(clock, "e2"))
    await ended(clock, first)
    assert ("ab", 1) == (text_of(await second), sharing.upstream.runs)


async def test_who_comes_after_the_end_gets_a_run_of_its_own(clock: FakeClock) -> None:
    """A run that has ended is not joined any more."""
    sharing = Sharing(clock, *GOOD)
    await sharing.read(caller(clock))
    await sharing.read(caller(clock))
    assert 2 == sharing.upstream.runs


async def test_different_tenants_or_manners_never_share(clock: FakeClock) -> None:
    """Another tenant, another timeout, a wish for a fresh answer: each has its own run."""
    sharing = Sharing(clock, *SLOW)
    stranger = caller(clock)
    stranger = replace(stranger, principal=Principal(tenant="other"))
    patient = ask()
    patient.idle_timeout.seconds = 50
    bypass = ask(cache_control=pb.CacheControl(mode=pb.CACHE_MODE_BYPASS))
    tasks = [sharing.read(caller(clock)), sharing.read(stranger)]
    tasks += [sharing.read(caller(clock), request) for request in (patient, bypass, bypass)]
    await ended(clock, tasks[0])
    await asyncio.gather(*tasks)
    assert 5 == sharing.upstream.runs


@pytest.mark.parametrize(("mode", "runs"), [("all", 1), ("deterministic", 2), ("off", 2)])
async def test_the_mode_says_who_may_share(clock: FakeClock, mode: str, runs: int) -> None:
    """By default all identical requests share; the setting narrows or ends that."""
    sharing = Sharing(clock, *SLOW, mode=mode)
    request = pb.ExecuteRequest(prompt="x", model="models/a")
    tasks = [sharing.read(caller(clock), request) for _ in range(2)]
    await ended(clock, tasks[0])
    await asyncio.gather(*tasks)
    assert runs == sharing.upstream.runs


@pytest.mark.parametrize("leaver", [0, 1])
async def test_one_who_leaves_does_not_stop_the_others(clock: FakeClock, leaver: int) -> None:
    """Whether the first or another: the run goes on, and somebody who stays pays."""
    sharing = Sharing(clock, *SLOW)
    calls = [caller(clock, f"e{number}") for number in range(2)]
    tasks = [sharing.read(call) for call in calls]
    await clock.advance(5)
    tasks[leaver].cancel()
    await clock.advance(1)
    assert 0 == sharing.upstream.closed
    stays = 1 - leaver
    assert "ab" == text_of(await ended(clock, tasks[stays]))
    assert (1, True, False) == (
        sharing.upstream.runs,
        calls[stays].outcome.pays,
        calls[leaver].outcome.pays,
    )


async def test_the_last_one_who_leaves_stops_the_run_at_once(clock: FakeClock) -> None:
    """When nobody is left, upstream is closed before the last one is gone."""
    sharing = Sharing(clock, *SLOW)
    tasks = [sharing.read(caller(clock, f"e{number}")) for number in range(3)]
    await clock.advance(5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (1, 0) == (sharing.upstream.closed, sharing.coalesce.running)


async def test_one_who_leaves_before_the_run_begins_leaves_nothing(clock: FakeClock) -> None:
    """A cancel at the very first moment stops a run that has not taken off."""
    sharing = Sharing(clock, *SLOW)
    task = sharing.read(caller(clock))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await settle()
    coalesce = sharing.coalesce
    assert (0, {}) == (coalesce.running, coalesce._streams._open)
    assert sharing.upstream.runs == sharing.upstream.closed


async def test_a_closed_stream_is_a_caller_who_left(clock: FakeClock) -> None:
    """Closing the iterator, as grpc does when a write is cancelled, stops the run."""
    sharing = Sharing(clock, *SLOW)
    events = sharing.open(caller(clock))
    await anext(events)
    await events.aclose()
    assert (1, 0) == (sharing.upstream.closed, sharing.coalesce.running)


async def test_a_failure_is_told_to_each_in_an_error_of_its_own(clock: FakeClock) -> None:
    """What one caller's layers write into its error, no other caller sees."""
    cut = StreamCut("cut", metadata={"a": "b"}, retry_after=3)
    cut.failure = ExecutionFailure(prompt_feedback={"block_reason": 1})
    progress = ExecutionEvents(clock, SILENT)
    sharing = Sharing(clock, started(), delta("a"), 1, cut, outside=(progress,))
    tasks = [sharing.read(caller(clock, f"e{number}")) for number in range(3)]
    await clock.advance(2)
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert 3 == len({id(one) for one in failures})
    for number, one in enumerate(failures):
        assert isinstance(one, StreamCut)
        assert one.failure is not None
        assert ("cut", 3, {"a": "b"}, f"e{number}", 1, 1) == (
            one.message,
            one.retry_after,
            one.metadata,
            one.failure.execution,
            one.failure.prompt_feedback.block_reason,
            len(one.failure.attempts),
        )
    assert "" == cut.failure.execution


async def test_a_defect_reaches_everybody(clock: FakeClock) -> None:
    """What is no failure of ours is not hidden by sharing."""
    sharing = Sharing(clock, started(), 1, KeyError("x"))
    tasks = [sharing.read(caller(clock, f"e{number}")) for number in range(2)]
    await clock.advance(2)
    failures = await asyncio.gather(*tasks, return_exceptions=True)
    assert [KeyError, KeyError] == [type(one) for one in failures]


async def test_each_keeps_its_own_deadline_and_the_run_has_the_latest(clock: FakeClock) -> None:
    """An impatient caller fails at its own time; a patient one who came later gets the answer."""
    timeouts = AttemptTimeouts(ExecutionOptions, clock)
    sharing = Sharing(clock, started(), 4, delta("a"), 4, completed(), inside=(timeouts,))
    hasty = sharing.read(caller(clock, "e1", deadline=6))
    await clock.advance(1)
    patient = sharing.read(caller(clock, "e2", deadline=60))
    await clock.advance(5.5)
    with pytest.raises(DeadlinePassed, match="deadline of 6 s"):
        await hasty
    assert "a" == text_of(await ended(clock, patient))
    assert [clock.now() // 1000 * 1000 + 61] == [call.deadline for call in sharing.upstream.calls]


async def test_a_later_deadline_counts_for_a_wait_that_has_begun(clock: FakeClock) -> None:
    """Who joins during a silence keeps the run alive beyond the first caller's deadline."""
    timeouts = AttemptTimeouts(ExecutionOptions, clock)
    sharing = Sharing(clock, 10, *GOOD, inside=(timeouts,))
    hasty = sharing.read(caller(clock, "e1", deadline=6))
    await clock.advance(1)
    patient = sharing.read(caller(clock, "e2", deadline=60))
    await clock.advance(6)
    with pytest.raises(DeadlinePassed):
        await hasty
    assert "hello" == text_of(await ended(clock, patient))
    assert 1 == sharing.upstream.runs


async def test_a_whole_answer_outlasts_the_one_who_asked_first(clock: FakeClock) -> None:
    """Who has more time than the first caller goes on when that one's time is up."""
    timeouts = AttemptTimeouts(ExecutionOptions, clock)
    sharing = Sharing(clock, 5, answer_of(), inside=(timeouts,))
    hasty = sharing.whole(caller(clock, "e1", deadline=3))
    await clock.advance(1)
    patient = [sharing.whole(caller(clock, f"p{n}", deadline=60)) for n in range(5)]
    await clock.advance(3)
    with pytest.raises(DeadlinePassed):
        await hasty
    await ended(clock, patient[0])
    assert ["hello"] * 5 == [text_of([await task]) for task in patient]
    assert 1 == sharing.upstream.runs


async def test_a_slow_reader_slows_nobody(clock: FakeClock) -> None:
    """While one reader stands still the others get everything; then it catches up."""
    sharing = Sharing(clock, started(), *(delta("x" * 60_000) for _ in range(30)), completed())
    slow = sharing.open(caller(clock, "slow"))
    await anext(slow)
    quick = await sharing.read(caller(clock, "quick"))
    assert 30 * 60_000 == len(text_of(quick))
    assert 30 * 60_000 == len(text_of(await collect(slow)))
    assert 1 == sharing.upstream.runs


async def test_a_reader_too_far_behind_fails_and_the_others_do_not(clock: FakeClock) -> None:
    """Beyond the bound of the shared buffer the laggard is told so, by a typed error."""
    pieces = [delta("x" * 60_000) for _ in range(40)]
    sharing = Sharing(clock, started(), *pieces, completed(), buffer_mb=1)
    slow = sharing.open(caller(clock, "slow"))
    await anext(slow)
    quick = await sharing.read(caller(clock, "quick"))
    assert 40 * 60_000 == len(text_of(quick))
    with pytest.raises(Overloaded, match="read faster"):
        await collect(slow)


async def test_nobody_joins_what_is_no_longer_whole(clock: FakeClock) -> None:
    """When the beginning has been let go, who comes next gets a run of its own."""
    pieces = [delta("x" * 60_000) for _ in range(40)]
    sharing = Sharing(clock, started(), *pieces, 10, completed(), buffer_mb=1)
    first = sharing.read(caller(clock, "e1"))
    await clock.advance(1)
    second = sharing.read(caller(clock, "e2"))
    await ended(clock, second)
    assert [40 * 60_000] * 2 == [len(text_of(await task)) for task in (first, second)]
    assert 2 == sharing.upstream.runs


async def test_upstream_is_read_no_further_than_the_fastest_reader_allows(
    clock: FakeClock,
) -> None:
    """With no reader reading, the run stops ahead of them by a bounded number of bytes."""
    taken = 0

    async def endless(_call: Any, _request: Any) -> Any:
        nonlocal taken
        yield started()
        while True:
            taken += 10_000
            yield delta("x" * 10_000)

    sharing = Sharing(clock)
    alone = Alone(sharing.coalesce)
    readers: Any = [alone.stream(caller(clock), ask(), endless) for _ in range(2)]
    await asyncio.gather(*map(anext, readers))
    await settle()
    assert AHEAD_BYTES < taken < AHEAD_BYTES + 20_000
    await anext(readers[0])
    await anext(readers[0])
    before = taken
    await settle()
    assert taken - before <= 20_000
    for reader in readers:
        await reader.aclose()


async def test_a_stopping_server_ends_what_is_shared(clock: FakeClock) -> None:
    """Closing the policy cancels every run, and its callers are told."""
    sharing = Sharing(clock, *SLOW)
    task = sharing.read(caller(clock))
    await clock.advance(1)
    await sharing.coalesce.aclose()
    with pytest.raises(Draining):
        await task
    assert (1, 0) == (sharing.upstream.closed, sharing.coalesce.running)


async def test_a_stampede_at_an_empty_cache_pays_and_stores_once(clock: FakeClock) -> None:
    """Cache outside, filling inside: one run, one entry stored, and hits from then on."""
    options = CacheOptions()
    store = MemoryAnswers(10, MIB, clock.now)
    cache = CacheLookup(lambda: options, store, clock)
    fill = CacheFill(lambda: options, store, clock)
    sharing = Sharing(clock, *SLOW, outside=(cache,), inside=(fill,))
    tasks = [sharing.read(caller(clock, f"e{number}")) for number in range(100)]
    await clock.advance(15)
    tasks[0].cancel()
    await ended(clock, tasks[1])
    answers = await asyncio.gather(*tasks[1:])
    assert ({"ab"}, 1, 1) == (
        {text_of(one) for one in answers},
        sharing.upstream.runs,
        store.stores,
    )
    late = await sharing.read(caller(clock))
    assert pb.CACHE_STATUS_HIT == late[0].started.cache_status
    assert 1 == sharing.upstream.runs


async def test_callers_leaving_at_random_never_harm_those_who_stay(clock: FakeClock) -> None:
    """Whoever stays to the end has the whole answer; runs and closes always match."""
    steps = (started(), *(step for n in range(10) for step in (delta(str(n)), 1)), completed())
    sharing = Sharing(clock, *steps)
    for leave_at in range(12):
        stay = [sharing.read(caller(clock, f"s{n}")) for n in range(3)]
        go = [sharing.read(caller(clock, f"g{n}")) for n in range(5)]
        for number, task in enumerate(go):
            await clock.advance(leave_at / 5)
            task.cancel()
            if number == 2:
                stay.append(sharing.read(caller(clock, "late")))
        await ended(clock, stay[0])
        answers = await asyncio.gather(*stay)
        await asyncio.gather(*go, return_exceptions=True)
        assert {"0123456789"} == {text_of(events) for events in answers}
        assert (0, sharing.upstream.runs) == (sharing.coalesce.running, sharing.upstream.closed)
