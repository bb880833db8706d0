"""A long answer as a stream: one `started`, every delta, one `completed`, over all hops.

Covers: policies/long_answers/continuation_tokens.py, policies/long_answers/hop_chain.py,
policies/long_answers/hop_events.py, policies/long_answers/hop_stream.py,
policies/long_answers/spoken.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import AnswerBlocked, EmptyAnswer, ServiceError
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.hop_upstream import (
    ESTIMATED,
    EXACT,
    STOP,
    Run,
    asked,
    codes,
    hop,
    kinds,
    long_answer,
    said,
    usage_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_all_hops_are_one_answer(clock: FakeClock) -> None:
    """The caller sees one start, the texts in order, and one end that counts the further hops."""
    upstream = long_answer(
        clock, hop("a", "b", token=b"t1"), hop("c", token=b"t2"), hop("d", "e", response="r3")
    )
    events = await Run(clock, upstream).stream()
    assert ["started", *["delta"] * 5, "completed"] == kinds(events)
    assert "abcde" == said(events)
    done = events[-1].completed
    assert (STOP, 2, b"", "r3") == (
        done.finish_reason,
        done.continuations,
        done.continuation_token,
        done.response_id,
    )


async def test_a_hop_is_asked_for_by_the_same_request_and_the_token(clock: FakeClock) -> None:
    """Never with text of the answer; the caller's own request is left as it was."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b", token=b"t2"), hop("c"))
    request = asked()
    await Run(clock, upstream).stream(request)
    assert [b"", b"t1", b"t2"] == upstream.tokens
    for sent in upstream.requests:
        sent.ClearField("continuation_token")
    assert [asked()] * 3 == upstream.requests
    assert asked() == request


async def test_an_answer_of_one_hop_is_left_as_it_is(clock: FakeClock) -> None:
    """Without CONTINUATION nothing is added to any event."""
    plays = (started(), delta("a", 3), delta("b"), completed())
    upstream = long_answer(clock, list(plays))
    run = Run(clock, upstream)
    assert list(plays) == await run.stream()
    assert [] == run.call.outcome.hops


async def test_no_inner_end_is_shown(clock: FakeClock) -> None:
    """CONTINUATION and its token are on no delta of a hop that was followed; all else stays."""
    rating = content.SafetyRating(blocked=False)
    first = hop("a", token=b"t1", safety_ratings=[rating], finish_message="goes on")
    events = await Run(clock, long_answer(clock, first, hop("b"))).stream()
    deltas = [event.delta for event in events if event.HasField("delta")]
    assert [0, STOP] == [one.finish_reason for one in deltas]
    assert [b"", b""] == [one.continuation_token for one in deltas]
    assert [False, False] == [one.HasField("finish_message") for one in deltas]
    assert [rating] == list(deltas[0].safety_ratings)


async def test_tokens_within_a_hop_stay_where_they_came(clock: FakeClock) -> None:
    """A token on a piece that ends nothing is no end: it is handed on, and not followed."""
    first = hop("a", "b", token=b"t1")
    first[1].delta.continuation_token = b"within"
    upstream = long_answer(clock, first, hop("c"))
    events = await Run(clock, upstream).stream()
    assert [b"within", b"", b""] == [e.delta.continuation_token for e in events[1:-1]]
    assert ("abc", [b"", b"t1"]) == (said(events), upstream.tokens)


async def test_events_of_gemini_are_counted_over_all_hops(clock: FakeClock) -> None:
    """`upstream_event` goes on where the hop before ended."""
    upstream = long_answer(clock, hop("a", "b", token=b"t1"), hop("c", token=b"t2"), hop("d", "e"))
    events = await Run(clock, upstream).stream()
    numbers = [event.delta.upstream_event for event in events if event.HasField("delta")]
    assert [1, 2, 3, 4, 5] == numbers


async def test_usage_is_summed_over_hops(clock: FakeClock) -> None:
    """Each delta has the tokens so far, the end those of all hops; the prompt counts once a hop."""
    upstream = long_answer(
        clock,
        hop("a", "b", token=b"t1", usage=usage_of(10, 4)),
        hop("c", usage=usage_of(12, 3, 2)),
    )
    events = await Run(clock, upstream).stream()
    counts = [event.delta.usage.candidates_token_count for event in events[1:-1]]
    assert [2, 4, 7] == counts
    total = usage_of(22, 7, 2)
    total.quality = EXACT
    assert total == events[-1].completed.usage
    assert content.USAGE_QUALITY_UNSPECIFIED == events[3].delta.usage.quality


async def test_a_hop_without_usage_makes_the_sum_an_estimate(clock: FakeClock) -> None:
    """What one hop does not tell is missing in the sum, which says so."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b", usage=usage_of(12, 3)))
    events = await Run(clock, upstream).stream()
    usage = events[-1].completed.usage
    assert (12, ESTIMATED) == (usage.prompt_token_count, usage.quality)


async def test_usage_that_comes_alone_is_summed_too(clock: FakeClock) -> None:
    """A `usage` event of a later hop has the tokens of all hops so far."""
    second = hop("b", usage=usage_of(12, 3))
    second.insert(1, pb.ExecuteResponse(usage=usage_of(12, 1)))
    upstream = long_answer(clock, hop("a", token=b"t1", usage=usage_of(10, 4)), second)
    events = await Run(clock, upstream).stream()
    (alone,) = [event.usage for event in events if event.HasField("usage")]
    assert (22, 5) == (alone.prompt_token_count, alone.candidates_token_count)


async def test_a_hop_may_hold_nothing(clock: FakeClock) -> None:
    """An empty hop, be it the first, is followed like any other."""
    upstream = long_answer(clock, hop(token=b"t1"), hop("a", token=b"t2"), hop())
    events = await Run(clock, upstream).stream()
    assert ("a", 2, STOP) == (
        said(events),
        events[-1].completed.continuations,
        events[-1].completed.finish_reason,
    )


@pytest.mark.parametrize(
    ("reason", "failure"),
    [(STOP, EmptyAnswer), (content.FINISH_REASON_SAFETY, AnswerBlocked)],
)
async def test_an_answer_of_which_no_hop_says_anything_is_a_failure(
    clock: FakeClock, reason: int, failure: type[ServiceError]
) -> None:
    """Nothing in all hops is no answer, as it is with one; what it used is told."""
    upstream = long_answer(
        clock,
        hop(token=b"t1", usage=usage_of(10, 0, 5)),
        hop(reason=reason, usage=usage_of(10, 0)),
    )
    with pytest.raises(failure) as failed:
        await Run(clock, upstream).stream()
    told = failed.value.failure
    assert told is not None
    assert (reason, 20, b"") == (
        told.finish_reason,
        told.usage.prompt_token_count,
        told.continuation_token,
    )


async def test_a_blocked_hop_ends_what_was_said_before(clock: FakeClock) -> None:
    """As in one hop, text that ends with SAFETY is an answer that says so."""
    safety = content.FINISH_REASON_SAFETY
    upstream = long_answer(clock, hop("a", token=b"t1"), hop(reason=safety))
    events = await Run(clock, upstream).stream()
    assert ("a", safety, 1) == (
        said(events),
        events[-1].completed.finish_reason,
        events[-1].completed.continuations,
    )


async def test_another_version_is_told_and_warned_of(clock: FakeClock) -> None:
    """Deltas of a hop that another version served say so; so does a warning at the end."""
    upstream = long_answer(
        clock, hop("a", token=b"t1"), hop("b", "c", version="gemini-test-002", response="r2")
    )
    events = await Run(clock, upstream).stream()
    versions = [event.delta.model_version for event in events[1:-1]]
    assert ["", "gemini-test-002", "gemini-test-002"] == versions
    done = events[-1].completed
    assert "gemini-test-002" == done.model_version
    assert ["CONTINUATION_MODEL_CHANGED"] == codes(done.warnings)


async def test_what_a_later_hop_calls_itself_is_kept(clock: FakeClock) -> None:
    """Another id of Gemini's stands on the hop's first delta, beside what it came with."""
    second = hop("b", "c", response="r2")
    second[1].delta.response_extra["other"] = 1
    second[1].delta.response_extra_json = '{"other":1}'
    events = await Run(clock, long_answer(clock, hop("a", token=b"t1"), second)).stream()
    deltas = [event.delta for event in events[1:-1]]
    assert ["", '{"other":1,"responseId":"r2"}', ""] == [d.response_extra_json for d in deltas]
    assert "r2" == deltas[1].response_extra["responseId"]


async def test_warnings_of_every_hop_are_told(clock: FakeClock) -> None:
    """What an inner hop warned of at its end stands in the one `completed`."""
    first = hop("a", token=b"t1")
    first[-1].completed.warnings.add(code="TEXT_REPLACED")
    events = await Run(clock, long_answer(clock, first, hop("b"))).stream()
    assert ["TEXT_REPLACED"] == codes(events[-1].completed.warnings)


async def test_tokens_of_the_candidate_are_counted_over_hops(clock: FakeClock) -> None:
    """`token_count` of a later hop has the tokens of the hops before it as well."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", token_count=5),
        hop("b", token=b"t2", token_count=6),
        hop("c", token_count=7),
    )
    events = await Run(clock, upstream).stream()
    assert [5, 11, 18] == [event.delta.token_count for event in events[1:-1]]


async def test_the_hops_are_told_for_the_price(clock: FakeClock) -> None:
    """The call has each hop with its own usage, version and time."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", usage=usage_of(10, 4)),
        hop("b", usage=usage_of(12, 3), version="v2"),
    )
    run = Run(clock, upstream)
    await run.stream()
    told = [
        (one.version, one.usage and one.usage.prompt_token_count) for one in run.call.outcome.hops
    ]
    assert [("gemini-test-001", 10), ("v2", 12)] == told
    assert ["standard", "standard"] == [one.tier for one in run.call.outcome.hops]


async def test_manual_hands_each_hop_to_the_caller(clock: FakeClock) -> None:
    """The hop comes as it is, with CONTINUATION and its token, and no further one is asked for."""
    first = hop("a", token=b"t1", usage=usage_of(10, 4))
    upstream = long_answer(clock, first, hop("b"))
    request = asked(continuation_mode=pb.CONTINUATION_MODE_MANUAL)
    assert first == await Run(clock, upstream).stream(request)
    assert [b""] == upstream.tokens


async def test_a_token_of_the_callers_own_goes_on_from_there(clock: FakeClock) -> None:
    """A request with a token and AUTO is followed from that hop on."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b", token=b"t2"), hop("c"))
    events = await Run(clock, upstream).stream(asked(continuation_token=b"t1"))
    assert ("bc", 1) == (said(events), events[-1].completed.continuations)
    assert [b"t1", b"t2"] == upstream.tokens


async def test_the_rest_of_an_answer_may_be_empty(clock: FakeClock) -> None:
    """Who asks for the rest, and there is none, gets an empty end: the text was said before."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop())
    events = await Run(clock, upstream).stream(asked(continuation_token=b"t1"))
    assert ("", STOP) == (said(events), events[-1].completed.finish_reason)
