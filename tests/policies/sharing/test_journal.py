"""What was streamed can be had again, by whoever it belongs to, for a while.

Covers: policies/sharing/disconnect_policy.py, policies/sharing/journal_store.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.answers import CoalesceOptions
from gemini_backend.errors import Cancelled, InvalidRequest, StreamCut, Throttled, UnknownResource
from gemini_backend.policies.sharing.single_flight import SingleFlight
from gemini_backend.telemetry.events import ExecutionDetached, StreamResumed
from tests.support.clock import settle
from tests.support.layers.inproc import collect
from tests.support.layers.journal import DRAIN, KEEP, SLOW, Kept, lose, numbers, rest, take
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.counting_upstream import (
    GOOD,
    answer_of,
    ask,
    caller,
    text_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

ALL = "01234567"


@pytest.mark.parametrize("after", range(11))
async def test_what_has_ended_can_be_had_again_from_any_place(clock: FakeClock, after: int) -> None:
    """Every event after the last one seen comes again, byte for byte, at no upstream cost."""
    kept = Kept(clock, *SLOW)
    whole = await rest(clock, kept.open())
    again = await collect(kept.resume(after))
    assert whole[after:] == again
    assert (1, 1, False) == (kept.upstream.runs, kept.counts.resumed, kept.call.outcome.pays)
    assert [StreamResumed("another", "e1")] == kept.heard.of(StreamResumed)


@pytest.mark.parametrize("seen", [1, 2, 5, 9])
async def test_a_kept_execution_goes_on_without_its_caller(clock: FakeClock, seen: int) -> None:
    """With KEEP a lost stream is resumed gaplessly while the execution still runs."""
    kept = Kept(clock, *SLOW)
    first = await lose(clock, kept, seen, KEEP)
    assert 0 == kept.upstream.closed
    await clock.advance(0.7)
    events = first + await rest(clock, kept.resume(seen))
    assert (list(range(1, 11)), ALL) == (numbers(events), text_of(events))
    assert {"e1"} == {event.execution for event in events}
    assert (1, 1) == (kept.upstream.runs, kept.counts.detached)
    assert [ExecutionDetached("e1")] == kept.heard.of(ExecutionDetached)
    (heard,) = kept.heard.finished
    assert "OK" == heard.code


async def test_a_kept_execution_can_be_lost_again_and_again(clock: FakeClock) -> None:
    """However often the connection breaks, nothing is missing and nothing comes twice."""
    kept = Kept(clock, *SLOW)
    seen = await lose(clock, kept, 2, KEEP)
    while len(seen) < 10:
        events = kept.resume(len(seen))
        seen += await take(clock, events, 1)
        await events.aclose()
    assert (list(range(1, 11)), ALL) == (numbers(seen), text_of(seen))
    assert 1 == kept.upstream.runs


async def test_two_may_read_the_same_execution(clock: FakeClock) -> None:
    """Who resumes before the server has noticed the loss reads beside the old stream."""
    kept = Kept(clock, *SLOW)
    old = kept.open(how=KEEP)
    await take(clock, old, 3)
    new = await rest(clock, kept.resume(3))
    assert list(range(4, 11)) == numbers(new)
    assert list(range(4, 11)) == numbers(await collect(old))


async def test_grace_ends_an_execution_that_nobody_takes_up(clock: FakeClock) -> None:
    """After the grace period upstream is closed, and who comes then is told why."""
    kept = Kept(clock, started(), delta("a"), 1000, completed(), grace_seconds=20)
    await lose(clock, kept, 2, KEEP)
    await clock.advance(19)
    assert 0 == kept.upstream.closed
    await clock.advance(2)
    assert 1 == kept.upstream.closed
    with pytest.raises(UnknownResource, match="grace period"):
        await collect(kept.resume(2))
    assert [True] == [event.cancelled for event in kept.heard.finished]


async def test_who_takes_an_execution_up_stops_its_grace(clock: FakeClock) -> None:
    """The grace period runs only while nobody reads, and begins anew with each loss."""
    kept = Kept(clock, started(), delta("a"), 50, delta("b"), completed(), grace_seconds=20)
    await lose(clock, kept, 2, KEEP)
    await clock.advance(15)
    events = kept.resume(2)
    waiting = asyncio.ensure_future(anext(events))
    await clock.advance(20)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await clock.advance(16)
    assert "b" == text_of(await rest(clock, kept.resume(2)))


async def test_the_request_may_ask_for_its_own_grace(clock: FakeClock) -> None:
    """`grace_period` counts, up to the largest that is allowed."""
    kept = Kept(clock, started(), 1000, completed(), grace_seconds=5, max_grace_seconds=30)
    how = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP, grace_period=Duration(seconds=500))
    await lose(clock, kept, 1, how)
    await clock.advance(29)
    assert 0 == kept.upstream.closed
    await clock.advance(2)
    assert 1 == kept.upstream.closed


async def test_by_default_a_lost_stream_is_cancelled_at_once(clock: FakeClock) -> None:
    """Without a wish upstream is closed with the stream, and the journal says what to do."""
    kept = Kept(clock, *SLOW)
    await lose(clock, kept, 3)
    assert (1, 0) == (kept.upstream.closed, len(kept.journal.store))
    with pytest.raises(UnknownResource, match="on_disconnect KEEP"):
        await collect(kept.resume(3))


async def test_a_connection_lost_with_the_last_event_loses_nothing(clock: FakeClock) -> None:
    """What had been said to the end can be resumed, whatever became of the stream."""
    kept = Kept(clock, *GOOD)
    seen = await lose(clock, kept, 4)
    assert seen[2:] == await collect(kept.resume(2))


async def test_who_follows_a_cancelled_execution_is_told(clock: FakeClock) -> None:
    """A second reader of an execution that goes with its first caller sees a typed failure."""
    kept = Kept(clock, *SLOW)
    old = kept.open()
    await take(clock, old, 2)
    new = asyncio.ensure_future(collect(kept.resume(0)))
    await settle()
    await old.aclose()
    with pytest.raises(UnknownResource, match="its caller disconnected"):
        await new


async def test_drain_reads_on_so_that_usage_is_exact(clock: FakeClock) -> None:
    """With DRAIN the answer is read to its end, and its usage says how."""
    kept = Kept(clock, *SLOW)
    await lose(clock, kept, 2, DRAIN)
    await clock.advance(20)
    (heard,) = kept.heard.finished
    assert heard.usage is not None
    assert (9, content.USAGE_QUALITY_DRAINED, False) == (
        heard.usage.total_token_count,
        heard.usage.quality,
        heard.cancelled,
    )
    assert ALL[1:] == text_of(await collect(kept.resume(2)))


async def test_what_was_doubtful_is_no_better_when_it_was_drained(clock: FakeClock) -> None:
    """Usage that was estimated stays so, whoever read the answer to its end."""
    end = completed()
    end.completed.usage.quality = content.USAGE_QUALITY_ESTIMATED
    kept = Kept(clock, started(), delta("a"), 1, end)
    await lose(clock, kept, 2, DRAIN)
    await clock.advance(20)
    (heard,) = kept.heard.finished
    assert heard.usage is not None
    assert content.USAGE_QUALITY_ESTIMATED == heard.usage.quality


async def test_drain_ends_after_so_many_tokens(clock: FakeClock) -> None:
    """`drain_max_tokens` counts from the moment when the caller left."""

    def said(text: str, tokens: int) -> pb.ExecuteResponse:
        event = delta(text)
        event.delta.usage.candidates_token_count = tokens
        return event

    steps = [step for n in range(1, 50) for step in (said("word", n * 10), 1)]
    kept = Kept(clock, started(), *steps, completed())
    how = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_DRAIN, drain_max_tokens=100)
    await lose(clock, kept, 6, how)
    await clock.advance(40)
    (heard,) = kept.heard.finished
    assert heard.usage is not None
    assert (1, 150, True) == (
        kept.upstream.closed,
        heard.usage.candidates_token_count,
        heard.cancelled,
    )
    with pytest.raises(Cancelled, match="drain_max_tokens"):
        await collect(kept.resume(6))


async def test_usage_read_by_its_caller_is_not_called_drained(clock: FakeClock) -> None:
    """Who stays to the end sees the quality that upstream gave."""
    kept = Kept(clock, *SLOW)
    events = await rest(clock, kept.open(how=DRAIN))
    assert content.USAGE_QUALITY_UNSPECIFIED == events[-1].completed.usage.quality


async def test_a_whole_answer_can_outlive_its_caller(clock: FakeClock) -> None:
    """With KEEP or DRAIN a Process call goes on when its caller leaves; by default it stops."""
    for how, closed, finished in ((KEEP, 0, 1), (DRAIN, 0, 1), (None, 1, 1)):
        kept = Kept(clock, 10, answer_of())
        request = ask(on_disconnect=how)
        answer: Any = kept.pipeline.unary(kept.upstream.unary)(caller(clock), request)
        task = asyncio.ensure_future(answer)
        await clock.advance(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert closed == kept.upstream.closed
        await clock.advance(20)
        assert (1, finished) == (kept.upstream.closed, len(kept.heard.finished))
        if how is not None:
            usage = kept.heard.finished[0].usage
            assert usage is not None
            assert content.USAGE_QUALITY_DRAINED == usage.quality


async def test_a_whole_answer_cannot_be_resumed(clock: FakeClock) -> None:
    """`resume` in a Process call is refused by its field."""
    kept = Kept(clock, answer_of())
    request = pb.ExecuteRequest(resume=pb.Resume(execution="e1"))
    with pytest.raises(InvalidRequest) as failed:
        await kept.pipeline.unary(kept.upstream.unary)(caller(clock), request)
    assert ["resume"] == [violation.field for violation in failed.value.violations]


async def test_only_its_own_principal_may_resume(clock: FakeClock) -> None:
    """A stranger is told the same of an execution that there is as of one that there is not."""
    kept = Kept(clock, *GOOD)
    await collect(kept.open())
    with pytest.raises(UnknownResource) as foreign:
        await collect(kept.resume(0, tenant="other"))
    with pytest.raises(UnknownResource) as unknown:
        await collect(kept.resume(0, name="e2"))
    assert foreign.value.message == unknown.value.message.replace("e2", "e1")
    kept.set(keep_seconds=1)
    await clock.advance(400)
    with pytest.raises(UnknownResource) as foreign_gone:
        await collect(kept.resume(0, tenant="other"))
    assert foreign.value.message == foreign_gone.value.message


async def test_a_place_that_nobody_has_seen_is_refused(clock: FakeClock) -> None:
    """`after_sequence` beyond what was sent is the caller's mistake."""
    kept = Kept(clock, *GOOD)
    await collect(kept.open())
    with pytest.raises(InvalidRequest, match="4 events have been sent"):
        await collect(kept.resume(5))


async def test_who_resumes_a_failed_execution_is_told_the_failure(clock: FakeClock) -> None:
    """The rest comes, then the same failure, with what had been delivered."""
    kept = Kept(clock, started(), delta("a"), StreamCut("cut"))
    with pytest.raises(StreamCut):
        await collect(kept.open())
    events = kept.resume(1)
    assert "a" == text_of([await anext(events)])
    with pytest.raises(StreamCut) as failed:
        await anext(events)
    assert failed.value.failure is not None
    assert ("e1", 2) == (failed.value.failure.execution, failed.value.failure.last_sequence)


async def test_time_lets_executions_go(clock: FakeClock) -> None:
    """Some time after its end an execution is let go, even if nothing else happens."""
    kept = Kept(clock, *GOOD, keep_seconds=100)
    await collect(kept.open("e1"))
    await clock.advance(60)
    await collect(kept.open("e2"))
    await clock.advance(60)
    assert 1 == len(kept.journal.store)
    with pytest.raises(UnknownResource, match="ended more than 100 s ago"):
        await collect(kept.resume(0, "e1"))
    assert 4 == len(await collect(kept.resume(0, "e2")))
    await clock.advance(60)
    assert (0, 0) == (len(kept.journal.store), kept.journal.store.bytes)


async def test_a_shorter_time_counts_for_what_is_kept_already(clock: FakeClock) -> None:
    """Set lower while it runs, it lets go at the next end of an execution what is too old now."""
    kept = Kept(clock, *GOOD, keep_seconds=80_000)
    await collect(kept.open("e1"))
    await clock.advance(60)
    kept.set(keep_seconds=30)
    await collect(kept.open("e2"))
    assert 1 == len(kept.journal.store)
    await clock.advance(31)
    assert (0, 0) == (len(kept.journal.store), kept.journal.store.bytes)


@pytest.mark.parametrize("how", [None, KEEP])
async def test_refusals_take_nobodys_room(clock: FakeClock, how: Any) -> None:
    """What ended before its first event is not kept, however much of it there is."""
    kept = Kept(clock, *GOOD, max_executions=3)
    await collect(kept.open("e1"))
    kept.upstream.steps = (Throttled("wait"),)
    for number in range(2, 9):
        with pytest.raises(Throttled):
            await collect(kept.open(f"e{number}", how))
    assert 1 == len(kept.journal.store)
    assert 4 == len(await collect(kept.resume(0, "e1")))
    with pytest.raises(UnknownResource, match="ended before its first event"):
        await collect(kept.resume(0, "e5"))


async def test_number_lets_the_first_executions_go(clock: FakeClock) -> None:
    """At its most executions the journal lets the one go that ended first, and says so."""
    kept = Kept(clock, *GOOD, max_executions=3)
    for number in range(5):
        await collect(kept.open(f"e{number}"))
    assert 3 == len(kept.journal.store)
    with pytest.raises(UnknownResource, match="the journal was full"):
        await collect(kept.resume(0, "e1"))
    assert 4 == len(await collect(kept.resume(0, "e2")))


async def test_bytes_let_the_first_executions_go(clock: FakeClock) -> None:
    """At its most bytes the journal lets the one go that ended first."""
    piece = delta("x" * 300_000)
    kept = Kept(clock, started(), piece, completed(), max_size_mb=1, max_execution_mb=1)
    for number in range(5):
        await collect(kept.open(f"e{number}"))
    assert 3 == len(kept.journal.store)
    assert kept.journal.store.bytes <= 1024 * 1024
    assert 3 == len(await collect(kept.resume(0, "e4")))


async def test_a_long_execution_keeps_its_latest_events(clock: FakeClock) -> None:
    """Beyond its own bound an execution can be resumed from its later part only."""
    pieces = [delta("x" * 100_000) for _ in range(20)]
    kept = Kept(clock, started(), *pieces, completed(), max_execution_mb=1)
    whole = await collect(kept.open())
    assert 22 == len(whole)
    assert whole[15:] == await collect(kept.resume(15))
    with pytest.raises(UnknownResource, match="no longer kept"):
        await collect(kept.resume(3))


async def test_a_full_journal_ends_what_nobody_reads(clock: FakeClock) -> None:
    """An execution that lost its caller and then its place in the journal is closed."""
    kept = Kept(clock, *SLOW, max_executions=1)
    await lose(clock, kept, 2, KEEP)
    other = kept.open("e2")
    await take(clock, other, 2)
    assert 1 == kept.upstream.closed
    assert ALL[1:] == text_of(await rest(clock, other))


async def test_a_stopping_server_ends_what_outlived_its_caller(clock: FakeClock) -> None:
    """Closing the journal cancels every run that has no caller left."""
    kept = Kept(clock, *SLOW)
    await lose(clock, kept, 2, KEEP)
    await kept.journal.aclose()
    assert (1, {}, 0) == (kept.upstream.closed, kept.journal._lasting, kept.journal.store.bytes)


async def test_a_kept_execution_is_one_follower_of_a_shared_run(clock: FakeClock) -> None:
    """A kept caller that is lost keeps the shared run alive; one that is not kept does not."""
    coalesce = SingleFlight(CoalesceOptions, clock)
    kept = Kept(clock, *SLOW, inside=(coalesce,))
    plain = kept.open("plain")
    await take(clock, plain, 2)
    keeping = kept.open("keeping", KEEP)
    await take(clock, keeping, 2)
    await plain.aclose()
    await keeping.aclose()
    assert (1, 0) == (kept.upstream.runs, kept.upstream.closed)
    assert ALL[1:] == text_of(await rest(clock, kept.resume(2, "keeping")))
    assert (1, 1, 0) == (kept.upstream.runs, kept.upstream.closed, coalesce.running)
