"""A content that cannot be embedded fails its own caller, and nobody who was asked for with it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.embed_batcher import EmbedBatcher
from gemini_backend.config.sections.embed import EmbedOptions
from gemini_backend.errors import (
    AnswerTooLarge,
    ContextTooLong,
    EmptyAnswer,
    InvalidRequest,
    KeyRefused,
    MalformedAnswer,
    PromptBlocked,
    RefusedByModelApi,
    Throttled,
    UnknownResource,
    UpstreamReply,
    UpstreamTimedOut,
    UpstreamUnavailable,
)
from tests.support.clock import FakeClock
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.upstream.base import EmbedBatch

OWN = [
    RefusedByModelApi("x"),
    ContextTooLong("x"),
    InvalidRequest("x"),
    UnknownResource("x"),
    PromptBlocked("x"),
    AnswerTooLarge("x"),
    EmptyAnswer("x"),
    MalformedAnswer("x"),
    UpstreamTimedOut("x"),
    UpstreamUnavailable("x", upstream=UpstreamReply(500)),
    RuntimeError("a defect"),
]
EVERYBODYS = [UpstreamUnavailable("x"), KeyRefused("x"), Throttled("x")]


class Upstream:
    """Fails each batch that has a text which begins with `bad`, and counts."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.batches: list[list[str]] = []

    async def embed(self, _call: Call, batch: EmbedBatch) -> pb.EmbedResponse:
        texts = [one.parts[0].text for one in batch.contents]
        self.batches.append(texts)
        if any(text.startswith("bad") for text in texts):
            raise self.error
        vectors = [pb.Embedding(values=[float(text)]) for text in texts]
        return pb.EmbedResponse(embeddings=vectors)


async def asked(clock: FakeClock, upstream: Upstream, *callers: list[str]) -> list[Any]:
    """Return what becomes of each caller's texts, asked for at once: numbers, or an error."""
    batcher = EmbedBatcher(EmbedOptions, upstream.embed, clock)

    def request(texts: list[str]) -> pb.EmbedRequest:
        contents = [content.Content(parts=[content.Part(text=text)]) for text in texts]
        return pb.EmbedRequest(contents=contents, model="models/e")

    tasks = [
        asyncio.ensure_future(batcher.embed(make_call(clock), request(texts))) for texts in callers
    ]
    await clock.advance(0.01)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    await batcher.aclose()
    return [
        [one.values[0] for one in answer.embeddings]
        if isinstance(answer, pb.EmbedResponse)
        else type(answer)
        for answer in found
    ]


@pytest.mark.parametrize("error", OWN, ids=lambda error: type(error).__name__)
async def test_only_who_is_at_fault_fails(clock: FakeClock, error: Exception) -> None:
    """Found by halves: about twice the logarithm of the callers in calls."""
    upstream = Upstream(error)
    callers = [[str(number)] for number in range(63)] + [["bad"]]
    found = await asked(clock, upstream, *callers)
    assert [*([number] for number in range(63)), type(error)] == found
    assert 1 + 2 * math.log2(64) == len(upstream.batches)


@pytest.mark.parametrize("error", EVERYBODYS, ids=lambda error: type(error).__name__)
async def test_what_is_everybodys_is_not_looked_for(clock: FakeClock, error: Exception) -> None:
    """Nothing is asked again."""
    upstream = Upstream(error)
    assert [type(error)] * 2 == await asked(clock, upstream, ["1"], ["bad"])
    assert 1 == len(upstream.batches)


@pytest.mark.parametrize("error", OWN[6:], ids=lambda error: type(error).__name__)
async def test_an_upstream_that_fails_all_is_asked_a_few_times(
    clock: FakeClock, error: Exception
) -> None:
    """Once no part has succeeded, a doubtful failure is upstream's own."""
    upstream = Upstream(error)
    callers = [[f"bad{number}"] for number in range(100)]
    assert [type(error)] * 100 == await asked(clock, upstream, *callers)
    assert len(upstream.batches) <= 7


async def test_two_faults_in_both_halves_are_found(clock: FakeClock) -> None:
    """The neighbours of both have their vectors."""
    upstream = Upstream(EmptyAnswer("x"))
    callers = [["bad1"], *([str(number)] for number in range(30)), ["bad2"]]
    found = await asked(clock, upstream, *callers)
    assert [EmptyAnswer, *([number] for number in range(30)), EmptyAnswer] == found


texts = st.lists(st.sampled_from(["1", "2", "bad"]), min_size=1, max_size=3)


@given(st.lists(texts, min_size=1, max_size=30))
def test_each_gets_its_own_at_twice_the_calls_at_most(callers: list[list[str]]) -> None:
    """Whoever is at fault, and wherever they stand."""
    upstream = Upstream(RefusedByModelApi("x"))
    found = asyncio.run(asked(FakeClock(), upstream, *callers))
    expected = [
        RefusedByModelApi if "bad" in own else [float(text) for text in own] for own in callers
    ]
    assert expected == found
    assert len(upstream.batches) <= max(1, 2 * sum(map(len, callers)))
