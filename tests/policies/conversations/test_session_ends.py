"""Turns of answers that go on after a finish reason, or whose end was not seen.

Covers: processing/answers/endings.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import StreamCut
from gemini_backend.processing.answers.endings import END_NOT_SEEN
from tests.support.layers.alone import Alone
from tests.support.layers.session_layer import STOP, Desk, request_of, texts

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


async def test_an_answer_whose_end_was_not_seen_is_no_turn(clock: FakeClock) -> None:
    """All that follows would rest on it: the execution fails as a cut stream, nothing is kept."""
    desk = Desk(clock)
    await desk.create()

    async def cut(_call: Any, _request: Any) -> Any:
        yield pb.ExecuteResponse(delta=pb.Delta(parts=[content.Part(text="half an ans")]))
        done = pb.Completed(finish_reason=content.FINISH_REASON_STOP)
        done.warnings.add(code=END_NOT_SEEN.code)
        yield pb.ExecuteResponse(completed=done)

    said = []
    with pytest.raises(StreamCut, match="not added to the session"):
        async for event in Alone(desk.policy).stream(desk.call(), request_of("a", "s"), cut):
            said.append(event.WhichOneof("event"))  # noqa: PERF401 - a failure loses none
    assert ["delta"] == said
    assert (0, 1) == (desk.kept().turns, desk.counts.turns["abandoned"])


@pytest.mark.parametrize("early", [STOP, content.FINISH_REASON_MAX_TOKENS])
async def test_a_turn_has_what_follows_a_finish_reason(clock: FakeClock, early: Any) -> None:
    """The whole of the answer is kept, and sent with the next turn."""
    desk = Desk(clock)
    await desk.create()

    async def in_rounds(_call: Any, _request: Any) -> Any:
        for text, reason in (("a", 0), ("b", early), ("c", 0), ("d", STOP)):
            piece = pb.Delta(parts=[content.Part(text=text)], finish_reason=reason)
            yield pb.ExecuteResponse(delta=piece)
        yield pb.ExecuteResponse(completed=pb.Completed(finish_reason=STOP))

    async for _ in Alone(desk.policy).stream(desk.call(), request_of("a", "s"), in_rounds):
        pass
    await desk.ask("b")
    assert ["user: a", "model: abcd", "user: b"] == texts(desk.sent())
