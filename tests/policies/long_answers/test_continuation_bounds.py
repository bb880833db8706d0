"""Where a long answer ends: used up, not to be followed, in a circle, without an end.

Covers: policies/long_answers/budget.py, policies/long_answers/endings.py,
policies/long_answers/first_hop.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import FixedBudget
from gemini_backend.errors import StreamCut
from tests.support.upstreams.hop_upstream import (
    CONTINUATION,
    MAX_TOKENS,
    STOP,
    Run,
    asked,
    codes,
    hop,
    long_answer,
    said,
    usage_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_several_candidates_are_handed_on(clock: FakeClock) -> None:
    """They are not followed: tokens stay on their candidates, and a warning says so."""
    first = hop("a", token=b"t1")
    other = pb.Delta(
        candidate_index=1, finish_reason="FINISH_REASON_CONTINUATION", continuation_token=b"u1"
    )
    first.insert(2, pb.ExecuteResponse(delta=other))
    for request in (asked(candidates=2), asked()):
        upstream = long_answer(clock, first, hop("b"))
        events = await Run(clock, upstream).stream(request)
        tokens = {
            event.delta.candidate_index: event.delta.continuation_token
            for event in events
            if event.delta.finish_reason == CONTINUATION
        }
        assert {0: b"t1", 1: b"u1"} == tokens
        done = events[-1].completed
        assert (CONTINUATION, b"t1") == (done.finish_reason, done.continuation_token)
        assert ["CONTINUATION_NOT_FOLLOWED"] == codes(done.warnings)
        assert [b""] == upstream.tokens


async def test_no_token_no_next_hop(clock: FakeClock) -> None:
    """CONTINUATION without a token is handed on as it came, with a warning."""
    upstream = long_answer(clock, hop("a", reason=CONTINUATION))
    events = await Run(clock, upstream).stream()
    done = events[-1].completed
    assert ("a", CONTINUATION) == (said(events), done.finish_reason)
    assert CONTINUATION == events[-2].delta.finish_reason
    assert ["CONTINUATION_NOT_FOLLOWED"] == codes(done.warnings)


async def test_a_token_that_no_request_could_hold_is_not_followed(clock: FakeClock) -> None:
    """Beyond 1 MiB it is left out, and a warning says so."""
    upstream = long_answer(clock, hop("a", token=b"x" * (1024 * 1024 + 1)))
    events = await Run(clock, upstream).stream()
    done = events[-1].completed
    assert (CONTINUATION, b"") == (done.finish_reason, done.continuation_token)
    assert all(not event.delta.continuation_token for event in events)
    assert ["CONTINUATION_NOT_FOLLOWED"] == codes(done.warnings)


async def test_a_token_of_a_whole_answer_is_ignored(clock: FakeClock) -> None:
    """After STOP nothing is asked for; the token stays where it came, with a warning."""
    upstream = long_answer(clock, hop("a", token=b"t1", reason=STOP), hop("b"))
    events = await Run(clock, upstream).stream()
    done = events[-1].completed
    assert (STOP, b"", b"t1") == (
        done.finish_reason,
        done.continuation_token,
        events[-2].delta.continuation_token,
    )
    assert ["CONTINUATION_TOKEN_IGNORED"] == codes(done.warnings)
    assert [b""] == upstream.tokens


async def test_chains_without_an_end_are_bounded(clock: FakeClock) -> None:
    """After so many continuations the answer ends with the token to go on with."""
    upstream = long_answer(
        clock, *(hop(str(number), token=b"t%d" % (number + 1)) for number in range(9))
    )
    events = await Run(clock, upstream, most=3).stream()
    done = events[-1].completed
    assert ("0123", CONTINUATION, b"t4", 3) == (
        said(events),
        done.finish_reason,
        done.continuation_token,
        done.continuations,
    )
    assert ["CONTINUATION_LIMIT"] == codes(done.warnings)


@pytest.mark.parametrize("again", [b"t1", b"t2"])
async def test_a_token_that_comes_again_is_a_failure(clock: FakeClock, again: bytes) -> None:
    """An answer that would go round is cut, typed, with no token, and not to be tried again."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", usage=usage_of(10, 1)),
        hop("b", token=b"t2", usage=usage_of(10, 1)),
        hop("c", token=again, usage=usage_of(10, 1)),
    )
    run = Run(clock, upstream)
    with pytest.raises(StreamCut) as failed:
        await run.stream()
    error = failed.value
    assert "abc" == said(run.seen)
    assert ("token_repeated", True) == (error.metadata["continuation"], error.final)
    assert error.failure is not None
    assert (b"", usage_of(30, 3).prompt_token_count) == (
        error.failure.continuation_token,
        error.failure.usage.prompt_token_count,
    )


async def test_the_callers_own_token_counts_as_seen(clock: FakeClock) -> None:
    """A hop that gives back the token that it was asked with goes round already."""
    upstream = long_answer(clock, hop("a"), hop("b", token=b"t1"))
    with pytest.raises(StreamCut):
        await Run(clock, upstream).stream(asked(continuation_token=b"t1"))
    assert [b"t1"] == upstream.tokens


async def test_empty_hops_in_a_row_are_bounded(clock: FakeClock) -> None:
    """Three hops that bring neither text nor thoughts end it, with the token to try later."""
    empty = [hop(token=b"t%d" % number, usage=usage_of(10, 0)) for number in (2, 3, 4, 5)]
    upstream = long_answer(clock, hop("a", token=b"t1"), *empty)
    run = Run(clock, upstream)
    with pytest.raises(StreamCut) as failed:
        await run.stream()
    assert [b"", b"t1", b"t2", b"t3"] == upstream.tokens
    assert "empty_hops" == failed.value.metadata["continuation"]
    assert failed.value.failure is not None
    assert b"t4" == failed.value.failure.continuation_token


async def test_hops_of_thoughts_alone_are_not_empty(clock: FakeClock) -> None:
    """A model that thinks for several hops is followed."""
    thinking = [hop(token=b"t%d" % number, usage=usage_of(10, 0, 50)) for number in range(1, 6)]
    events = await Run(clock, long_answer(clock, *thinking, hop("a"))).stream()
    assert ("a", 5) == (said(events), events[-1].completed.continuations)


async def test_max_output_tokens_spans_all_hops(clock: FakeClock) -> None:
    """Each hop is asked for what is left, thoughts counted; used up, it ends as MAX_TOKENS does."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", usage=usage_of(10, 30, 10)),
        hop("b", token=b"t2", usage=usage_of(10, 40)),
        hop("c", token=b"t3", usage=usage_of(10, 20)),
        hop("d"),
    )
    events = await Run(clock, upstream).stream(asked(most=100))
    assert [100, 60, 20] == upstream.limits
    done = events[-1].completed
    assert ("abc", MAX_TOKENS, b"t3", 2) == (
        said(events),
        done.finish_reason,
        done.continuation_token,
        done.continuations,
    )
    assert MAX_TOKENS == events[-2].delta.finish_reason
    assert [] == list(done.warnings)


async def test_a_hop_is_asked_for_no_more_than_the_model_gives_in_one(clock: FakeClock) -> None:
    """What is left is cut down to the model's limit of one request, as far as that is known."""
    hops = [hop(token=b"t%d" % n, usage=usage_of(1, 40)) for n in (1, 2)]
    upstream = long_answer(clock, *hops, hop("c"))
    await Run(clock, upstream, limits=(40, 1000)).stream(asked(most=100))
    assert [40, 40, 20] == upstream.limits


async def test_a_model_without_long_decode_is_sent_the_callers_limit(clock: FakeClock) -> None:
    """Where one request gives all that there is, the model judges too large a limit by itself."""
    upstream = long_answer(clock, hop("a"))
    await Run(clock, upstream, limits=(40, 40)).stream(asked(most=100))
    assert [100] == upstream.limits


async def test_the_models_limit_of_one_request_is_no_end(clock: FakeClock) -> None:
    """MAX_TOKENS with a token, while the caller's limit is not used up, is followed."""
    first = hop("a", token=b"t1", reason=MAX_TOKENS, usage=usage_of(1, 40))
    upstream = long_answer(clock, first, hop("b", usage=usage_of(1, 5)))
    events = await Run(clock, upstream, limits=(40, 1000)).stream(asked(most=100))
    assert ("ab", [40, 40], STOP) == (
        said(events),
        upstream.limits,
        events[-1].completed.finish_reason,
    )
    assert [0, STOP] == [event.delta.finish_reason for event in events[1:-1]]


async def test_max_tokens_of_the_callers_limit_is_final(clock: FakeClock) -> None:
    """MAX_TOKENS of the very limit that the caller set ends the answer, whatever was counted."""
    first = hop("a", token=b"t1", reason=MAX_TOKENS)
    upstream = long_answer(clock, first, hop("b"))
    events = await Run(clock, upstream, limits=(65_536, 1_048_576)).stream(asked(most=50_000))
    done = events[-1].completed
    assert (MAX_TOKENS, b"t1", [b""]) == (
        done.finish_reason,
        done.continuation_token,
        upstream.tokens,
    )


async def test_max_tokens_of_the_model_is_final(clock: FakeClock) -> None:
    """Without a limit of the caller's, MAX_TOKENS ends the answer though there is a token."""
    first = hop("a", token=b"t1", reason=MAX_TOKENS, usage=usage_of(1, 40))
    upstream = long_answer(clock, first, hop("b"))
    events = await Run(clock, upstream).stream()
    done = events[-1].completed
    assert (MAX_TOKENS, [b""]) == (done.finish_reason, upstream.tokens)
    assert (MAX_TOKENS, b"t1") == (
        events[-2].delta.finish_reason,
        events[-2].delta.continuation_token,
    )


async def test_without_counts_the_limit_is_kept_by_the_text(clock: FakeClock) -> None:
    """A hop that reports no usage is counted as a token for four characters."""
    upstream = long_answer(clock, hop("a" * 40, token=b"t1"), hop("b" * 400, token=b"t2"), hop())
    events = await Run(clock, upstream).stream(asked(most=100))
    assert [100, 90] == upstream.limits
    assert MAX_TOKENS == events[-1].completed.finish_reason


class _Unwanted(FixedBudget):
    """The budget of a call whose answer nobody waits for."""

    def wanted(self) -> bool:
        return False


async def test_who_has_left_is_asked_for_no_more(clock: FakeClock) -> None:
    """Where nobody wants more, the hop under way is the last, and the token stays to go on with."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b"))
    run = Run(clock, upstream)
    run.call = replace(run.call, budget=_Unwanted())
    events = await run.stream()
    done = events[-1].completed
    assert (CONTINUATION, b"t1") == (done.finish_reason, done.continuation_token)
    assert ["CONTINUATION_NOT_FOLLOWED"] == codes(done.warnings)
    assert [b""] == upstream.tokens


async def test_an_inner_end_that_was_not_seen_is_not_gone_on_from(clock: FakeClock) -> None:
    """A hop whose body broke off behind its finish is no place to put the rest behind."""
    second = hop("b", token=b"t2", usage=usage_of(10, 1))
    second[-1].completed.warnings.add(code="END_NOT_SEEN")
    upstream = long_answer(clock, hop("a", token=b"t1", usage=usage_of(10, 1)), second, hop("c"))
    with pytest.raises(StreamCut) as failed:
        await Run(clock, upstream).stream()
    assert failed.value.failure is not None
    assert ("end_not_seen", b"t1", 20) == (
        failed.value.metadata["continuation"],
        failed.value.failure.continuation_token,
        failed.value.failure.usage.prompt_token_count,
    )


async def test_what_is_counted(clock: FakeClock) -> None:
    """Further requests, and answers that were not followed to their end, by why."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b", token=b"t2"), hop("c"))
    run = Run(clock, upstream, most=1)
    await run.stream()
    assert (1, {"max_continuations": 1}) == (run.policy.followed, dict(run.policy.endings))
