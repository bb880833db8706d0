"""Long answers in sessions: a turn is a whole answer, however many hops it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import InvalidRequest, StreamCut
from gemini_backend.policies.long_answers.continuation import Continuation
from gemini_backend.policies.pipeline import Pipeline
from tests.support.layers.session_layer import Desk, request_of, texts
from tests.support.upstreams.hop_upstream import (
    CONTINUATION,
    NOW,
    LongAnswer,
    codes,
    hop,
    long_answer,
    usage_of,
)

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


class Talk(Desk):
    """A session layer round the continuation round an upstream of hops."""

    def __init__(
        self, clock: FakeClock, upstream: LongAnswer, *, stream: bool, **options: Any
    ) -> None:
        super().__init__(clock, stream=stream, **options)
        self.upstream = upstream
        self.pipeline = Pipeline(
            self.policy, Continuation(ExecutionOptions, lambda _: (0, 0), lambda: NOW)
        )

    async def run(self, call: Any, request: Any) -> Any:
        """Run a request through both."""
        if not self.streams:
            yield await self.pipeline.unary(self.upstream.unary)(call, request)
            return
        async for event in self.pipeline.stream(self.upstream.stream)(call, request):
            yield event


def warned(events: list[Any]) -> list[str]:
    """Return the codes of the warnings at the end of an answer."""
    last = events[-1]
    if isinstance(last, pb.ProcessResponse):
        return codes(last.started.warnings)
    return codes(last.completed.warnings)


@ways
async def test_a_turn_is_the_whole_answer(clock: FakeClock, stream: bool) -> None:
    """The text of all hops is one part of one turn, which the next request has before it."""
    upstream = long_answer(
        clock, hop("a", "b", token=b"t1", usage=usage_of(10, 4)), hop("c", usage=usage_of(12, 3))
    )
    talk = Talk(clock, upstream, stream=stream)
    await talk.create()
    await talk.ask("hello")
    (turn,) = talk.turns()
    assert ["abc"] == [part.text for part in turn.output.parts]
    assert 22 == turn.usage.prompt_token_count
    await talk.ask("more")
    assert ["user: hello", "model: abc", "user: more"] == texts(upstream.requests[-1].contents)


@ways
async def test_every_hop_is_asked_with_the_same_conversation(
    clock: FakeClock, stream: bool
) -> None:
    """What was said before is sent with each hop, and nothing of the answer under way."""
    upstream = long_answer(clock, hop("a", token=b"t1"), hop("b"))
    talk = Talk(clock, upstream, stream=stream)
    await talk.create(history=[_say("x", "user"), _say("y", "model")])
    await talk.ask("hello")
    sent = [texts(request.contents) for request in upstream.requests]
    assert [["user: x", "model: y", "user: hello"]] * 2 == sent


@ways
async def test_a_conversation_is_as_long_as_its_first_hop_says(
    clock: FakeClock, stream: bool
) -> None:
    """The prompt, counted once a hop, makes no conversation seem longer than it is."""
    upstream = long_answer(
        clock, hop("a", token=b"t1", usage=usage_of(100, 4)), hop("c", usage=usage_of(100, 3))
    )
    talk = Talk(clock, upstream, stream=stream)
    await talk.create()
    await talk.ask("hello")
    assert 107 == talk.kept().tokens


@ways
async def test_half_an_answer_is_no_turn(clock: FakeClock, stream: bool) -> None:
    """What ends with CONTINUATION leaves the session as it was, and the caller is told."""
    upstream = long_answer(clock, hop("a", reason=CONTINUATION, usage=usage_of(10, 4)))
    talk = Talk(clock, upstream, stream=stream)
    await talk.create()
    before = talk.kept()
    events = await talk.ask("hello")
    assert ["CONTINUATION_NOT_FOLLOWED", "SESSION_TURN_NOT_KEPT"] == warned(events)
    assert (before, []) == (talk.kept(), talk.turns())
    assert 1 == talk.counts.turns["abandoned"]


@ways
async def test_a_hop_that_fails_leaves_the_session_as_it_was(
    clock: FakeClock, stream: bool
) -> None:
    """The turn can be asked again, and then goes on with the conversation."""
    first = hop("a", token=b"t1")
    broken = [*hop("b", "c")[:2], StreamCut("cut")]
    upstream = LongAnswer(clock, {b"": [first], b"t1": [broken, hop("b")]})
    talk = Talk(clock, upstream, stream=stream)
    await talk.create()
    before = talk.kept()
    with pytest.raises(StreamCut):
        await talk.ask("hello")
    assert (before, []) == (talk.kept(), talk.turns())
    await talk.ask("hello")
    assert ["ab"] == [turn.output.parts[0].text for turn in talk.turns()]


@ways
@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"continuation_mode": pb.CONTINUATION_MODE_MANUAL}, ["continuation_mode"]),
        ({"continuation_token": b"t1"}, ["continuation_token"]),
    ],
)
async def test_a_session_takes_no_halves(
    clock: FakeClock, stream: bool, fields: dict[str, Any], named: list[str]
) -> None:
    """MANUAL, and the rest of an answer, are refused before anything is asked."""
    upstream = long_answer(clock, hop("a"))
    talk = Talk(clock, upstream, stream=stream)
    await talk.create()
    with pytest.raises(InvalidRequest) as refused:
        await talk.ask("hello", **fields)
    assert (named, []) == ([one.field for one in refused.value.violations], upstream.requests)
    assert 1 == talk.counts.turns["refused"]


async def test_a_summary_may_be_a_long_answer(clock: FakeClock) -> None:
    """Older turns are summed up over hops, and the turn itself is then asked for as ever."""
    summed = {b"": [hop("su", token=b"t1"), hop("a", token=b"t2")], b"t1": [hop("m")]}
    upstream = LongAnswer(clock, {**summed, b"t2": [hop("b")]})
    talk = Talk(clock, upstream, stream=True, limit=600)
    history = [_say("x" * 10, role) for _ in range(30) for role in ("user", "model")]
    await talk.create(history=history, overflow=sessions.SESSION_OVERFLOW_SUMMARIZE)
    call = talk.call()
    await talk.ask("x" * 10, call=call)
    assert "sum" == talk.session().summary
    assert ["ab"] == [turn.output.parts[0].text for turn in talk.turns()[30:]]
    assert ([b"", b"t1", b"", b"t2"], 2) == (upstream.tokens, len(call.outcome.hops))


def _say(text: str, role: str) -> Any:
    return request_of([{"role": role, "parts": [{"text": text}]}], "").contents[0]
