"""A batch of embeddings is in the sums once, however many callers share it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.embed_batcher import EmbedBatcher
from gemini_backend.api.embedding_progress import EmbeddingProgress
from gemini_backend.call import Work
from gemini_backend.config.sections.embed import EmbedOptions
from gemini_backend.errors import RefusedByModelApi
from gemini_backend.principal import Principal
from gemini_backend.telemetry.events import ExecutionStarted
from tests.support.clock import settle
from tests.support.layers.recorder import Recorder
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.upstream.base import EmbedBatch
    from tests.support.clock import FakeClock

MODEL = "models/embed"
ANN, BOB, EVE = Principal("acme", "ann"), Principal("acme", "bob"), Principal("other", "eve")


def price(model: str, usage: content.Usage) -> content.Cost | None:
    """Return what a known model costs: 10 for a token."""
    if model != MODEL:
        return None
    return content.Cost(cost_nano_usd=10 * usage.prompt_token_count, priced_model="embed")


class Case:
    """Embeddings in front of an upstream that counts ten tokens for a content."""

    def __init__(self, clock: FakeClock, **options: Any) -> None:
        self.clock = clock
        self.heard = Recorder()
        self.failure: Exception | None = None
        progress = EmbeddingProgress(self._answer, clock, self.heard.bus, price)
        self.batcher = EmbedBatcher(lambda: EmbedOptions(**options), progress.embed, clock)

    async def _answer(self, call: Call, batch: EmbedBatch) -> pb.EmbedResponse:
        await self.clock.sleep(1)
        if self.failure is not None:
            raise self.failure
        vectors = [pb.Embedding(values=[1.0]) for _ in batch.requests]
        usage = content.Usage(prompt_token_count=10 * len(vectors))
        return pb.EmbedResponse(embeddings=vectors, usage=usage)

    def ask(self, count: int, who: Principal = ANN, model: str = MODEL) -> asyncio.Task[Any]:
        call = replace(make_call(self.clock), principal=who)
        contents = [content.Content(parts=[content.Part(text="x")]) for _ in range(count)]
        request = pb.EmbedRequest(contents=contents, model=model)
        return asyncio.ensure_future(self.batcher.embed(call, request))

    async def ended(self, *tasks: asyncio.Task[Any]) -> list[Any]:
        while not all(task.done() for task in tasks):
            await self.clock.advance(0.1)
            await settle()
        return await asyncio.gather(*tasks, return_exceptions=True)

    def sums(self) -> tuple[int, int]:
        """Return tokens and costs of all that was published."""
        return (
            sum(one.usage.prompt_token_count for one in self.heard.finished if one.usage),
            sum(one.cost_nano_usd or 0 for one in self.heard.finished),
        )


async def test_callers_who_share_a_batch_are_counted_once(clock: FakeClock) -> None:
    """One start and one end, with the tokens and the cost of all of them; no caller is told."""
    case = Case(clock)
    answers = await case.ended(case.ask(2), case.ask(3, BOB))
    assert [False, False] == [one.HasField("usage") or one.HasField("cost") for one in answers]
    assert (50, 500) == case.sums()
    (begun,), (ended,) = case.heard.of(ExecutionStarted), case.heard.finished
    assert (Work.EMBEDDING, "acme", "") == (begun.work, begun.tenant, begun.principal)
    assert (Work.EMBEDDING, "acme", "") == (ended.work, ended.tenant, ended.principal)
    assert (MODEL, "OK", 1.0) == (ended.model, ended.code, pytest.approx(ended.seconds, abs=0.2))


async def test_a_caller_with_several_batches_is_told_their_sum(clock: FakeClock) -> None:
    """What its answer says that it cost is what was published."""
    case = Case(clock, max_batch=2)
    (answer,) = await case.ended(case.ask(5))
    assert (50, 500, "embed") == (
        answer.usage.prompt_token_count,
        answer.cost.cost_nano_usd,
        answer.cost.priced_model,
    )
    assert ((50, 500), ["ann"] * 3) == (
        case.sums(),
        [one.principal for one in case.heard.finished],
    )


async def test_tenants_share_no_batch(clock: FakeClock) -> None:
    """So it is known who used what."""
    case = Case(clock)
    await case.ended(case.ask(1), case.ask(2, EVE))
    assert [("acme", 100), ("other", 200)] == sorted(
        (one.tenant, one.cost_nano_usd) for one in case.heard.finished
    )


async def test_what_has_no_price_has_no_cost(clock: FakeClock) -> None:
    """Its tokens are known all the same."""
    case = Case(clock)
    (answer,) = await case.ended(case.ask(1, model="models/new"))
    assert (10, False) == (answer.usage.prompt_token_count, answer.HasField("cost"))
    assert [None] == [one.cost_nano_usd for one in case.heard.finished]


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (RefusedByModelApi("no"), ("INVALID_ARGUMENT", "CALLER_REFUSED_BY_MODEL_API")),
        (ValueError("x"), ("INTERNAL", "BACKEND_UNEXPECTED")),
    ],
)
async def test_failures_are_published(
    clock: FakeClock, failure: Exception, expected: tuple[str, str]
) -> None:
    """With code and reason, for each batch that was asked for."""
    case = Case(clock)
    case.failure = failure
    await case.ended(case.ask(1))
    assert [expected] == [(one.code, one.reason) for one in case.heard.finished]


async def test_a_batch_that_nobody_waits_for_is_cancelled(clock: FakeClock) -> None:
    """Its end is published as that of a caller who left."""
    case = Case(clock)
    task = case.ask(1)
    await clock.advance(0.5)
    task.cancel()
    await settle()
    assert [True] == [one.cancelled for one in case.heard.finished]
