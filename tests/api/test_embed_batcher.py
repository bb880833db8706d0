"""Embeddings go upstream together, and each caller gets exactly its own.

Covers: api/embedding.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.embed_batcher import EmbedBatcher
from gemini_backend.config.sections.embed import EmbedOptions
from gemini_backend.errors import DeadlinePassed, RefusedByModelApi, UpstreamUnavailable
from tests.support.clock import FakeClock, settle
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.upstream.base import EmbedBatch

MODEL = "models/embed"


class Upstream:
    """Gives each text its length as a vector, after some seconds; refuses a batch with "bad"."""

    def __init__(self, clock: FakeClock, seconds: float = 0.0) -> None:
        self.clock = clock
        self.seconds = seconds
        self.batches: list[list[str]] = []
        self.calls: list[Call] = []
        self.seen: list[EmbedBatch] = []
        self.cancelled = 0
        self.beside: dict[str, Any] = {}

    async def embed(self, call: Call, batch: EmbedBatch) -> pb.EmbedResponse:
        texts = [one.parts[0].text for one in batch.contents]
        self.batches.append(texts)
        self.calls.append(call)
        self.seen.append(batch)
        try:
            if self.seconds:
                await self.clock.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "bad" in texts:
            raise RefusedByModelApi("no")
        if "down" in texts:
            raise UpstreamUnavailable("busy")
        usage = content.Usage(prompt_token_count=len(texts))
        vectors = [
            pb.Embedding(values=[float(len(text)), float(hash(text) % 97)]) for text in texts
        ]
        return pb.EmbedResponse(embeddings=vectors, usage=usage, **self.beside)


def asked(*texts: str, **fields: Any) -> pb.EmbedRequest:
    contents = [content.Content(parts=[content.Part(text=text)]) for text in texts]
    return pb.EmbedRequest(contents=contents, model=MODEL, **fields)


def lengths(response: pb.EmbedResponse) -> list[int]:
    return [int(one.values[0]) for one in response.embeddings]


class Case:
    """A gathering in front of an upstream."""

    def __init__(self, clock: FakeClock, seconds: float = 0.0, **options: Any) -> None:
        self.clock = clock
        self.upstream = Upstream(clock, seconds)
        self.options = EmbedOptions(**options)
        self.gathering = EmbedBatcher(lambda: self.options, self.upstream.embed, clock)

    def ask(
        self, *texts: str, deadline: float = 100.0, **fields: Any
    ) -> asyncio.Task[pb.EmbedResponse]:
        call = make_call(self.clock, deadline=deadline)
        return asyncio.ensure_future(self.gathering.embed(call, asked(*texts, **fields)))


async def test_callers_within_the_window_share_one_call(clock: FakeClock) -> None:
    """However many they are, they cost one call; each has its own vectors, in its own order."""
    case = Case(clock)
    tasks = [case.ask("x" * number, "y") for number in range(1, 50)]
    await settle()
    assert [] == case.upstream.batches
    await clock.advance(0.003)
    answers = await asyncio.gather(*tasks)
    assert [98] == [len(batch) for batch in case.upstream.batches]
    assert [[number, 1] for number in range(1, 50)] == [lengths(answer) for answer in answers]
    assert not answers[0].HasField("usage")


async def test_contents_keep_what_goes_with_them(clock: FakeClock) -> None:
    """Callers with wishes of their own share a call; each content goes with its caller's."""
    case = Case(clock)
    own = {
        "task_type": pb.EMBED_TASK_TYPE_CLUSTERING,
        "title": "t",
        "output_dimensionality": 8,
        "mime_type": "text/plain",
        "auto_truncate": False,
        "document_ocr": True,
        "audio_track_extraction": True,
        "extra_json": '{"new":1.0}',
    }
    raw = {"task_type_raw": "NOVEL"}
    tasks = [case.ask("a", "b", **own), case.ask("c", **raw), case.ask("d")]
    await clock.advance(0.003)
    await asyncio.gather(*tasks)
    (batch,) = case.upstream.seen
    sent = [asked(text) for text in "abcd"]
    for one, fields in zip(sent, (own, own, raw, {}), strict=True):
        one.MergeFrom(pb.EmbedRequest(**fields))
        one.ClearField("model")
    assert sent == list(batch.requests)


async def test_only_those_of_one_priority_share_a_call(clock: FakeClock) -> None:
    """A call has one place in the queue; who says nothing is interactive."""
    case = Case(clock)
    batch, interactive = pb.PRIORITY_BATCH, pb.PRIORITY_INTERACTIVE
    tasks = [case.ask("a"), case.ask("b", priority=batch), case.ask("c", priority=interactive)]
    await clock.advance(0.003)
    await asyncio.gather(*tasks)
    assert [(interactive, ["a", "c"]), (batch, ["b"])] == [
        (seen.priority, texts)
        for seen, texts in zip(case.upstream.seen, case.upstream.batches, strict=True)
    ]


async def test_a_large_request_is_split_and_put_together_again(clock: FakeClock) -> None:
    """At most a hundred go at once; the order is kept, full calls do not wait, usage adds up."""
    case = Case(clock)
    task = case.ask(*("x" * number for number in range(1, 251)))
    await settle()
    assert [100, 100] == [len(batch) for batch in case.upstream.batches]
    await clock.advance(0.003)
    response = await task
    assert list(range(1, 251)) == lengths(response)
    assert 250 == response.usage.prompt_token_count


async def test_what_is_said_beside_the_vectors_is_told(clock: FakeClock) -> None:
    """Of calls that were made for one request alone: counts are added, fields are all kept."""
    case = Case(clock, max_batch=2)
    case.upstream.beside = {
        "billable_character_count": 5,
        "truncated": True,
        "extra_json": '{"new":1.0}',
    }
    task = case.ask("a", "b", "c")
    await clock.advance(0.003)
    response = await task
    assert (10, True, '{"new":1.0}', 3) == (
        response.billable_character_count,
        response.truncated,
        response.extra_json,
        response.usage.prompt_token_count,
    )
    shared = [case.ask("a"), case.ask("b")]
    await clock.advance(0.003)
    for answer in await asyncio.gather(*shared):
        assert ["embeddings", "model"] == [field.name for field, _ in answer.ListFields()]


async def test_without_a_window_nobody_waits(clock: FakeClock) -> None:
    """With 0 ms a call goes at once, and its usage is its own."""
    case = Case(clock, window_ms=0.0)
    task = case.ask("abc")
    await clock.advance(0)
    response = await task
    assert ([3], 1) == (lengths(response), response.usage.prompt_token_count)


async def test_one_who_is_at_fault_fails_alone(clock: FakeClock) -> None:
    """A batch that upstream refuses is asked for by halves; the innocent get their vectors."""
    case = Case(clock)
    tasks = [case.ask(text) for text in ("a", "bb", "bad", "dddd", "eeeee")]
    await clock.advance(0.003)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers.pop(2), RefusedByModelApi)
    assert [[1], [2], [4], [5]] == [lengths(answer) for answer in answers]


async def test_a_failure_that_is_nobodys_is_told_to_all(clock: FakeClock) -> None:
    """Where upstream is down nothing is asked again, and each has an error of its own."""
    case = Case(clock)
    tasks = [case.ask("down"), case.ask("b")]
    await clock.advance(0.003)
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert (UpstreamUnavailable, UpstreamUnavailable, 1) == (
        type(first),
        type(second),
        len(case.upstream.batches),
    )
    assert first is not second


async def test_who_leaves_does_not_stop_the_others_and_the_last_one_does(clock: FakeClock) -> None:
    """The call upstream ends when nobody waits for it any more, and not before."""
    case = Case(clock, seconds=5)
    first, second, third = case.ask("a"), case.ask("bb"), case.ask("ccc")
    await clock.advance(0.003)
    first.cancel()
    await settle()
    assert 0 == case.upstream.cancelled
    second.cancel()
    third.cancel()
    await settle()
    assert (1, 0) == (case.upstream.cancelled, len(case.gathering._flights))


async def test_each_caller_keeps_its_own_deadline(clock: FakeClock) -> None:
    """An impatient caller fails at its time; the shared call lasts as long as the patient one."""
    case = Case(clock, seconds=5)
    short, long = case.ask("a", deadline=1), case.ask("bb", deadline=50)
    await clock.advance(1)
    with pytest.raises(DeadlinePassed):
        await short
    await clock.advance(5)
    assert [2] == lengths(await long)
    assert clock.now() + 44 == case.upstream.calls[0].deadline


async def test_closing_ends_what_is_under_way(clock: FakeClock) -> None:
    """A stopping server leaves no call behind."""
    case = Case(clock, seconds=5)
    task = case.ask("a")
    await clock.advance(0.003)
    await case.gathering.aclose()
    assert (1, 0) == (case.upstream.cancelled, len(case.gathering._flights))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


CALLERS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "bb", "ccc", "bad"]), min_size=1, max_size=7),
        st.floats(0, 0.01),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(callers=CALLERS, max_batch=st.integers(1, 5))
def test_whatever_the_order_each_gets_its_own(
    callers: list[tuple[list[str], float, bool]], max_batch: int
) -> None:
    """Interleaved, split, refused or left: who stays has its vectors in order, or its own 400."""

    async def run() -> None:
        clock = FakeClock()
        case = Case(clock, seconds=1, max_batch=max_batch)
        tasks = []
        for texts, pause, _ in callers:
            tasks.append(case.ask(*texts))
            await clock.advance(pause)
        for (_, _, leaves), task in zip(callers, tasks, strict=True):
            if leaves:
                task.cancel()
        for _ in range(200):
            await clock.advance(1)
            if all(task.done() for task in tasks):
                break
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for (texts, _, leaves), answer in zip(callers, answers, strict=True):
            if leaves and isinstance(answer, asyncio.CancelledError):
                continue
            if "bad" in texts:
                assert isinstance(answer, RefusedByModelApi)
            else:
                assert [len(text) for text in texts] == lengths(answer)
        await settle()
        assert not case.gathering._flights

    asyncio.run(run())
