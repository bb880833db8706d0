"""A long answer in one message: all hops put together.

Covers: policies/long_answers/hop_answers.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import EmptyAnswer, StreamCut, UpstreamUnavailable
from tests.support.upstreams.hop_upstream import (
    CONTINUATION,
    EXACT,
    MAX_TOKENS,
    STOP,
    LongAnswer,
    Run,
    asked,
    codes,
    hop,
    long_answer,
    text_of,
    usage_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_all_hops_are_one_answer(clock: FakeClock) -> None:
    """One candidate with the whole text as one part, the last finish, the sum of usage."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", usage=usage_of(10, 4)),
        hop("b", token=b"t2", usage=usage_of(10, 5)),
        hop("c", usage=usage_of(10, 6)),
    )
    answer = await Run(clock, upstream).whole()
    (candidate,) = answer.candidates
    total = usage_of(30, 15)
    total.quality = EXACT
    assert ["abc"] == [part.text for part in candidate.content.parts]
    assert (STOP, b"", 2, total) == (
        candidate.finish_reason,
        candidate.continuation_token,
        answer.continuations,
        answer.usage,
    )


async def test_an_answer_of_one_hop_is_left_as_it_is(clock: FakeClock) -> None:
    """Without CONTINUATION the answer is the upstream's own."""
    play = hop("a", usage=usage_of(10, 4))
    expected = await LongAnswer(clock, {b"": [play]}).unary(Run(clock, _none(clock)).call, asked())
    run = Run(clock, long_answer(clock, play))
    assert (expected, []) == (await run.whole(), run.call.outcome.hops)


async def test_parts_with_more_than_text_stay_apart(clock: FakeClock) -> None:
    """A signature, a thought, a call are parts of their own, in the order of the hops."""
    signed = content.Part(text="", thought_signature=b"s")
    thought = content.Part(text="hm", thought=True)
    call = content.Part(function_call=content.FunctionCall(name="f"))
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", parts=[signed]),
        hop("b", parts=[thought, call]),
    )
    (candidate,) = (await Run(clock, upstream).whole()).candidates
    text = content.Part(text="a"), content.Part(text="b")
    assert [text[0], signed, text[1], thought, call] == list(candidate.content.parts)


async def test_sources_are_put_behind_each_other(clock: FakeClock) -> None:
    """What a later hop names by number names the same source in the whole list."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", grounding_metadata=_grounding("x", "y", named=[0, 1])),
        hop("b", grounding_metadata=_grounding("z", named=[0])),
    )
    (candidate,) = (await Run(clock, upstream).whole()).candidates
    found = candidate.grounding_metadata
    assert ["x", "y", "z"] == [chunk.web.uri for chunk in found.grounding_chunks]
    named = [list(one.grounding_chunk_indices) for one in found.grounding_supports]
    assert [[0, 1], [2]] == named


async def test_lists_and_scores_grow(clock: FakeClock) -> None:
    """Quotations, pages, token counts and log probabilities are those of all hops."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", token_count=1, avg_logprobs=-1.0, **_lists("x")),
        hop("b", token_count=3, avg_logprobs=-2.0, **_lists("y")),
    )
    (candidate,) = (await Run(clock, upstream).whole()).candidates
    assert (4, -1.75) == (candidate.token_count, candidate.avg_logprobs)
    quoted = [one.uri for one in candidate.citation_metadata.citation_sources]
    pages = [one.retrieved_url for one in candidate.url_context_metadata.url_metadata]
    chosen = [one.token for one in candidate.logprobs_result.chosen_candidates]
    assert [["x", "y"]] * 3 == [quoted, pages, chosen]


async def test_fields_without_a_name_are_kept(clock: FakeClock) -> None:
    """Of those that both hops have the later one counts, as text too."""
    first, second = hop("a", token=b"t1"), hop("b")
    for play, text in ((first, '{"one":1,"two":1}'), (second, '{"two":2.0}')):
        play[1].delta.extra_json = text
    upstream = long_answer(clock, first, second)

    async def unary(call: Any, request: Any) -> pb.ProcessResponse:
        answer = await upstream.unary(call, request)
        place = len(upstream.requests)
        answer.candidates[0].extra_json = ['{"one":1,"two":1}', '{"two":2.0}'][place - 1]
        return answer

    run = Run(clock, upstream)
    answer = await run.pipeline.unary(unary)(run.call, asked())
    assert '{"one":1,"two":2.0}' == answer.candidates[0].extra_json


async def test_manual_hands_each_hop_to_the_caller(clock: FakeClock) -> None:
    """The hop comes as it is; the request of the next one goes on from there."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b"))
    manual = pb.CONTINUATION_MODE_MANUAL
    first = await Run(clock, upstream).whole(asked(continuation_mode=manual))
    (candidate,) = first.candidates
    token = candidate.continuation_token
    assert ("a", CONTINUATION, b"t1", []) == (
        text_of(first),
        candidate.finish_reason,
        token,
        list(first.started.warnings),
    )
    rest = await Run(clock, upstream).whole(
        asked(continuation_mode=manual, continuation_token=token)
    )
    assert ("b", STOP) == (text_of(rest), rest.candidates[0].finish_reason)


async def test_a_token_without_a_finish_is_followed(clock: FakeClock) -> None:
    """A whole answer that says neither that it is whole nor why it is not goes on by its token."""
    upstream = long_answer(clock, hop("a", token=b"t1", reason=0), hop("b"))
    answer = await Run(clock, upstream).whole()
    assert ("ab", STOP) == (text_of(answer), answer.candidates[0].finish_reason)


async def test_several_candidates_are_handed_on(clock: FakeClock) -> None:
    """They are not followed: each keeps its own token, and a warning says so."""
    first = hop("a", token=b"t1")
    other = pb.Delta(
        candidate_index=1, finish_reason="FINISH_REASON_CONTINUATION", continuation_token=b"u1"
    )
    first.insert(2, pb.ExecuteResponse(delta=other))
    answer = await Run(clock, long_answer(clock, first)).whole(asked(candidates=2))
    assert [b"t1", b"u1"] == [one.continuation_token for one in answer.candidates]
    assert ["CONTINUATION_NOT_FOLLOWED"] == codes(answer.started.warnings)


@pytest.mark.parametrize(
    ("play", "code"),
    [
        (hop("a", reason=CONTINUATION), "CONTINUATION_NOT_FOLLOWED"),
        (hop("a", token=b"x" * (1024 * 1024 + 1)), "CONTINUATION_NOT_FOLLOWED"),
        (hop("a", token=b"t1", reason=STOP), "CONTINUATION_TOKEN_IGNORED"),
    ],
)
async def test_what_is_not_followed_is_warned_of(clock: FakeClock, play: Any, code: str) -> None:
    """No token, one that is too large, one of an answer that is whole: told, nothing more asked."""
    upstream = long_answer(clock, play)
    answer = await Run(clock, upstream).whole()
    assert ("a", [code], [b""]) == (
        text_of(answer),
        codes(answer.started.warnings),
        upstream.tokens,
    )


async def test_max_output_tokens_spans_all_hops(clock: FakeClock) -> None:
    """Used up, the answer ends as MAX_TOKENS does, with the token to go on with."""
    upstream = long_answer(
        clock,
        hop("a", token=b"t1", usage=usage_of(1, 60)),
        hop("b", token=b"t2", usage=usage_of(1, 40)),
    )
    answer = await Run(clock, upstream).whole(asked(most=100))
    (candidate,) = answer.candidates
    assert ([100, 40], "ab", MAX_TOKENS, b"t2") == (
        upstream.limits,
        text_of(answer),
        candidate.finish_reason,
        candidate.continuation_token,
    )


async def test_chains_without_an_end_are_bounded(clock: FakeClock) -> None:
    """After so many continuations the answer ends with the token to go on with."""
    hops = [hop(str(n), token=b"t%d" % (n + 1)) for n in range(5)]
    answer = await Run(clock, long_answer(clock, *hops), most=2).whole()
    (candidate,) = answer.candidates
    assert ("012", CONTINUATION, b"t3", 2) == (
        text_of(answer),
        candidate.finish_reason,
        candidate.continuation_token,
        answer.continuations,
    )
    assert ["CONTINUATION_LIMIT"] == codes(answer.started.warnings)


async def test_a_token_that_comes_again_is_a_failure(clock: FakeClock) -> None:
    """An answer that would go round is cut, with what it used."""
    play = hop("b", token=b"t1", usage=usage_of(10, 1))
    upstream = long_answer(clock, hop("a", token=b"t1", usage=usage_of(10, 1)), play)
    with pytest.raises(StreamCut) as failed:
        await Run(clock, upstream).whole()
    assert failed.value.failure is not None
    assert 20 == failed.value.failure.usage.prompt_token_count


async def test_a_failed_hop_carries_the_token_and_the_usage(clock: FakeClock) -> None:
    """What the hops before it used is told, and where the answer can be taken up."""
    plays = {
        b"": [hop("a", token=b"t1", usage=usage_of(10, 4))],
        b"t1": [[UpstreamUnavailable("down")]],
    }
    with pytest.raises(UpstreamUnavailable) as failed:
        await Run(clock, LongAnswer(clock, plays)).whole()
    told = failed.value.failure
    assert told is not None
    assert (b"t1", 10, 4) == (
        told.continuation_token,
        told.usage.prompt_token_count,
        told.usage.candidates_token_count,
    )


async def test_an_answer_of_which_no_hop_says_anything_is_a_failure(clock: FakeClock) -> None:
    """Nothing in all hops is no answer, as it is with one."""
    with pytest.raises(EmptyAnswer):
        await Run(clock, long_answer(clock, hop(token=b"t1"), hop())).whole()


async def test_another_version_is_warned_of(clock: FakeClock) -> None:
    """A hop that another version served is told of, and priced by it."""
    run = Run(clock, long_answer(clock, hop("a", token=b"t1"), hop("b", version="v2")))
    answer = await run.whole()
    assert ["CONTINUATION_MODEL_CHANGED"] == codes(answer.started.warnings)
    assert ["gemini-test-001", "v2"] == [one.version for one in run.call.outcome.hops]


def _none(clock: FakeClock) -> LongAnswer:
    return LongAnswer(clock, {})


def _grounding(*uris: str, named: list[int]) -> content.GroundingMetadata:
    return content.GroundingMetadata(
        grounding_chunks=[{"web": {"uri": uri}} for uri in uris],
        grounding_supports=[{"grounding_chunk_indices": named}],
    )


def _lists(word: str) -> dict[str, Any]:
    return {
        "citation_metadata": {"citation_sources": [{"uri": word}]},
        "url_context_metadata": {"url_metadata": [{"retrieved_url": word}]},
        "logprobs_result": {"chosen_candidates": [{"token": word}]},
    }
