"""A kept answer is sent again at once, or at the pace that was asked for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import DeadlinePassed
from gemini_backend.policies.cache.replay import Replay, pieces
from gemini_backend.policies.opening import started_of
from gemini_backend.stores.answer_store import StoredAnswer
from gemini_backend.telemetry.events import SILENT
from tests.support.layers.inproc import collect
from tests.support.messages.calls import completed, delta, make_call, started
from tests.support.upstreams.counting_upstream import ask, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock

TEXT = "The Nile is the longest river of all rivers."


def kept(*events: Any) -> StoredAnswer:
    return StoredAnswer(tuple(event.SerializeToString() for event in events), 0.0, 1e9, 1e9)


def again(clock: FakeClock, request: pb.ExecuteRequest, deadline: float | None = 100.0) -> Any:
    replay = Replay(clock, SILENT, "exact")
    answer = kept(started(), delta(TEXT), completed())
    call = make_call(clock, deadline=deadline)

    async def events() -> AsyncIterator[Any]:
        async for event in await replay.open(call, request, answer, lambda _: None):
            yield event

    return events()


def paced(seconds: float) -> pb.ExecuteRequest:
    pause = Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
    return ask(cache_control=pb.CacheControl(replay_interval=pause))


async def test_without_a_pace_it_comes_at_once_in_one_piece(clock: FakeClock) -> None:
    """A hit is three events, and takes no time."""
    events = await collect(again(clock, ask()))
    assert ["started", "delta", "completed"] == [event.WhichOneof("event") for event in events]


async def test_with_a_pace_it_comes_word_by_word(clock: FakeClock) -> None:
    """The text is the same, a few words at a time, each after its pause."""
    times = []
    task = asyncio.ensure_future(_timed(again(clock, paced(0.5)), clock, times))
    while not task.done():
        await clock.advance(0.25)
    events = await task
    assert TEXT == text_of(events)
    assert [0.5, 1.0, 1.5] == [at - times[0] for at in times[1:-1]]


async def test_a_pace_needs_no_deadline(clock: FakeClock) -> None:
    """Without one, every pause is as long as it was asked for."""
    task = asyncio.ensure_future(collect(again(clock, paced(50), deadline=None)))
    await clock.advance(100)
    assert not task.done()
    await clock.advance(50)
    assert TEXT == text_of(await task)


async def test_a_pace_beyond_the_deadline_fails_as_late(clock: FakeClock) -> None:
    """Whoever asks for a slower pace than there is time for is told so."""
    task = asyncio.ensure_future(collect(again(clock, paced(5), deadline=8)))
    await clock.advance(5)
    await clock.advance(5)
    with pytest.raises(DeadlinePassed):
        await task


WORDS = st.lists(st.sampled_from(["one", "two ", "\n", "三四五六"]), min_size=4).map(" ".join)
PARTS = st.lists(
    st.one_of(
        st.text(max_size=60).map(lambda text: content.Part(text=text)),
        WORDS.map(lambda text: content.Part(text=text)),
        WORDS.map(lambda text: content.Part(text=text, thought=True)),
        st.text(min_size=1, max_size=30).map(lambda text: content.Part(text=text, thought=True)),
        st.binary(min_size=1, max_size=5).map(
            lambda sig: content.Part(text="signed words here", thought_signature=sig)
        ),
        st.just(content.Part(function_call=content.FunctionCall(name="f"))),
    ),
    max_size=4,
)


@given(PARTS)
def test_pieces_say_the_same_as_the_whole(parts: list[content.Part]) -> None:
    """No text is lost, moved or doubled; what is no plain text stays whole; reasons come last."""
    whole = pb.ExecuteResponse(
        delta=pb.Delta(candidate_index=1, parts=parts, finish_reason="FINISH_REASON_STOP")
    )
    cut = list(pieces(pb.ExecuteResponse.FromString(whole.SerializeToString())))
    assert {1} == {piece.delta.candidate_index for piece in cut}
    assert [0] * (len(cut) - 1) == [piece.delta.finish_reason for piece in cut[:-1]]
    assert cut[-1].delta.finish_reason == content.FINISH_REASON_STOP
    flat = [part for piece in cut for part in piece.delta.parts]
    assert _joined(parts) == _joined(flat)


def _joined(parts: list[content.Part]) -> list[Any]:
    """Return the parts with plain texts of one voice joined, as whoever reads them does."""
    found: list[Any] = []
    for part in parts:
        names = frozenset(field.name for field, _ in part.ListFields())
        plain = names <= {"text", "thought"}
        if plain and found and isinstance(found[-1], list) and found[-1][0] == part.thought:
            found[-1][1] += part.text
        elif plain:
            found.append([part.thought, part.text])
        else:
            found.append(part.SerializeToString())
    return found


async def _timed(events: Any, clock: FakeClock, times: list[float]) -> list[Any]:
    seen = []
    async for event in events:
        times.append(clock.now())
        seen.append(event)
    return seen


async def test_wholes_that_are_asked_for_again_are_the_same(clock: FakeClock) -> None:
    """An answer given as a whole many times is each time a message of its own."""
    replay = Replay(clock, SILENT, "exact")
    answer = kept(started(), delta(TEXT), completed())
    first, second = (replay.whole(make_call(clock), answer, lambda _: None) for _ in range(2))
    assert first == second
    first.candidates[0].content.parts[0].text = "changed"
    assert (
        TEXT
        == replay.whole(make_call(clock), answer, lambda _: None)
        .candidates[0]
        .content.parts[0]
        .text
    )


async def test_an_answer_says_how_old_it_is(clock: FakeClock) -> None:
    """In all three ways in which it is given, to the fraction, and never less than nothing."""
    replay, answer = Replay(clock, SILENT, "exact"), kept(started(), delta(TEXT), completed())
    await clock.advance(2.5)
    age = clock.now()
    call = make_call(clock)
    at_pace = await replay.open(call, paced(1.0), answer, lambda _: None)
    at_once = await collect(replay.at_once(make_call(clock), answer))
    whole = replay.whole(make_call(clock), answer, lambda _: None)
    found = [one.cache_age for one in (started_of(at_pace), at_once[0].started, whole.started)]
    await at_pace.aclose()
    assert [pytest.approx(age)] * 3 == [one.seconds + one.nanos / 1e9 for one in found]
    later = StoredAnswer(answer.events, age + 9, 1e9, 1e9)
    assert Duration() == replay.whole(make_call(clock), later, lambda _: None).started.cache_age


def test_a_single_candidate_has_no_number() -> None:
    """Pieces have the candidate's index where the answer had one, and only there."""
    for fields in ({}, {"candidate_index": 2}):
        parts = [content.Part(text=TEXT), content.Part(text="signed", thought_signature=b"s")]
        whole = pb.ExecuteResponse(delta=pb.Delta(parts=parts, **fields))
        cut = list(pieces(whole))
        assert len(cut) > 3
        assert {bool(fields)} == {piece.delta.HasField("candidate_index") for piece in cut}


async def test_small_wholes_are_put_together_once(clock: FakeClock) -> None:
    """Up to 64 KiB an answer is kept ready; a larger one is not."""
    replay = Replay(clock, SILENT, "exact")
    for size, count in ((1000, 1), (70_000, 1), (60_000, 2)):
        answer = kept(started(), delta("x" * size), completed())
        replay.whole(make_call(clock), answer, lambda _: None)
        assert count == len(replay._ready)
