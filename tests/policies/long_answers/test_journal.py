"""Long answers that outlive their connection: kept, resumed and drained over hops."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.answers import CoalesceOptions
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.sharing.single_flight import SingleFlight
from tests.support.layers.journal import DRAIN, KEEP, Kept, lose, numbers, rest
from tests.support.upstreams.counting_upstream import ask, caller, ended
from tests.support.upstreams.hop_upstream import (
    CONTINUATION,
    NOW,
    STOP,
    LongAnswer,
    hop,
    said,
    usage_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


def paced(*texts: str, token: bytes = b"", usage: content.Usage) -> list[Any]:
    """Return a hop whose events come a second apart."""
    return [step for event in hop(*texts, token=token, usage=usage) for step in (1, event)]


def journal(clock: FakeClock, *, shared: bool = False) -> Kept:
    """Return a journal round three hops, each of two pieces, with single flight if wanted."""
    plays = {
        b"": [paced("a", "b", token=b"t1", usage=usage_of(10, 2))],
        b"t1": [paced("c", "d", token=b"t2", usage=usage_of(10, 2))],
        b"t2": [paced("e", "f", usage=usage_of(10, 2))],
    }
    inside: tuple[Any, ...] = (Continuation(ExecutionOptions, lambda _: (0, 0), lambda: NOW),)
    if shared:
        inside = (SingleFlight(CoalesceOptions, clock), *inside)
    kept = Kept(clock, inside=inside)
    kept.upstream = LongAnswer(clock, plays)  # type: ignore[assignment] # one that has hops
    return kept


def tokens(kept: Kept) -> list[bytes]:
    """Return the tokens that hops were asked for with."""
    upstream: Any = kept.upstream
    found: list[bytes] = upstream.tokens
    return found


both = pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])


@both
@pytest.mark.parametrize("seen", [1, 3, 4, 6])
async def test_a_kept_long_answer_goes_on_over_hops(
    clock: FakeClock, seen: int, shared: bool
) -> None:
    """With KEEP all hops are asked for without the caller, and resumed gaplessly anywhere."""
    kept = journal(clock, shared=shared)
    first = await lose(clock, kept, seen, KEEP)
    events = first + await rest(clock, kept.resume(seen))
    assert (list(range(1, 9)), "abcdef") == (numbers(events), said(events))
    assert (2, STOP) == (
        events[-1].completed.continuations,
        events[-1].completed.finish_reason,
    )
    assert [b"", b"t1", b"t2"] == tokens(kept)


async def test_what_has_ended_can_be_had_again(clock: FakeClock) -> None:
    """A long answer that is over comes again from any place, at no cost."""
    kept = journal(clock)
    whole = await rest(clock, kept.open())
    assert whole[4:] == await rest(clock, kept.resume(4))
    assert [b"", b"t1", b"t2"] == tokens(kept)


@both
async def test_what_is_drained_is_drained_to_the_end_of_its_hop(
    clock: FakeClock, shared: bool
) -> None:
    """With DRAIN the request under way is read to its end for its usage; no other is made."""
    kept = journal(clock, shared=shared)
    seen = await lose(clock, kept, 4, DRAIN)
    await clock.advance(60)
    assert ("abc", [b"", b"t1"]) == (said(seen), tokens(kept))
    (heard,) = kept.heard.finished
    assert heard.usage is not None
    assert (20, content.USAGE_QUALITY_DRAINED, "OK") == (
        heard.usage.prompt_token_count,
        heard.usage.quality,
        heard.code,
    )
    done = (await rest(clock, kept.resume(4)))[-1].completed
    assert (CONTINUATION, b"t2", ["CONTINUATION_NOT_FOLLOWED"]) == (
        done.finish_reason,
        done.continuation_token,
        [one.code for one in done.warnings],
    )


async def test_a_caller_who_is_back_has_the_rest_asked_for(clock: FakeClock) -> None:
    """Taken up again before the hop's end, a drained answer is followed to its own end."""
    kept = journal(clock)
    await lose(clock, kept, 4, DRAIN)
    events = await rest(clock, kept.resume(0))
    assert ("abcdef", [b"", b"t1", b"t2"]) == (said(events), tokens(kept))


async def test_drained_tokens_are_counted_over_hops(clock: FakeClock) -> None:
    """The limit counts from when the caller left, though counts of each hop begin anew."""
    kept = journal(clock)
    how = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_DRAIN, drain_max_tokens=2)
    await lose(clock, kept, 4, how)
    await clock.advance(60)
    assert [b"", b"t1"] == tokens(kept)
    (heard,) = kept.heard.finished
    assert "OK" == heard.code


async def test_a_run_that_somebody_still_reads_goes_on(clock: FakeClock) -> None:
    """Of two callers of one run, the one that stays has all hops, though the other drains."""
    kept = journal(clock, shared=True)
    leaving = kept.open("e1", DRAIN)
    await ended(clock, asyncio.ensure_future(anext(leaving)))
    pipeline = kept.pipeline.stream(kept.upstream.stream)
    staying = pipeline(caller(clock, "e2"), ask())
    first = await ended(clock, asyncio.ensure_future(anext(staying)))
    await leaving.aclose()
    events = [first, *await rest(clock, staying)]
    assert ("abcdef", [b"", b"t1", b"t2"]) == (said(events), tokens(kept))


async def test_the_default_asks_for_nothing_more(clock: FakeClock) -> None:
    """Without KEEP or DRAIN a caller that leaves ends the hop under way at once."""
    kept = journal(clock)
    await lose(clock, kept, 4)
    await clock.advance(60)
    upstream: Any = kept.upstream
    assert ([b"", b"t1"], 0) == (tokens(kept), upstream.open)


@pytest.mark.parametrize(("how", "hops"), [(KEEP, 3), (DRAIN, 1), (None, 1)])
async def test_a_whole_answer_whose_caller_leaves(clock: FakeClock, how: Any, hops: int) -> None:
    """A Process call goes on over hops with KEEP; with DRAIN its hop is read; else it stops."""
    kept = journal(clock)
    upstream: Any = kept.upstream
    run = kept.pipeline.unary(upstream.unary)
    task = asyncio.ensure_future(run(caller(clock, "e1"), ask(on_disconnect=how)))
    await clock.advance(2.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(60)
    assert ([b"", b"t1", b"t2"][:hops], 0) == (tokens(kept), upstream.open)
