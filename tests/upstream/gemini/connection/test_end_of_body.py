"""A stream is read to the end of its body, however long the silences, and no longer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import IdleTimeout, ServiceError, StreamCut
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from tests.support.layers.alone import Alone
from tests.support.messages.calls import make_call
from tests.support.messages.recordings import Recording, parameters
from tests.upstream.gemini.answer.test_answer_end import TOOL_ROUND, end, event
from tests.upstream.gemini.answer.test_stream_answer import texts
from tests.upstream.gemini.script import Script, apart, upstream_of

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

IDLE = 60.0
STOP = {"finishReason": "STOP"}
LAST = {**event("b", **STOP), "usageMetadata": end()["usageMetadata"]}


def data(found: dict[str, Any]) -> bytes:
    """Return an event as it is sent."""
    return b"data: " + json.dumps(found).encode() + b"\r\n\r\n"


async def play(
    clock: FakeClock, script: Script, *, merge: bool = False, idle: float = IDLE
) -> tuple[list[pb.ExecuteResponse], ServiceError | None, float]:
    """Run a call behind the layer that bounds silences; return events, failure, seconds."""
    upstream = upstream_of(script, merge=merge)
    layer = Alone(AttemptTimeouts(lambda: ExecutionOptions(idle_timeout_seconds=idle), clock))
    request = pb.ExecuteRequest(prompt="hi", model="models/m")
    if idle != IDLE:
        request.idle_timeout.FromMilliseconds(int(idle * 1000))
    events: list[pb.ExecuteResponse] = []
    take = events.append  # as they come: a failure loses none

    async def run() -> ServiceError | None:
        try:
            async for found in layer.stream(make_call(clock), request, upstream.stream):
                take(found)
        except ServiceError as error:
            return error
        return None

    began, task = clock.now(), asyncio.ensure_future(run())
    while not task.done() and clock.now() < began + 1000:
        await clock.advance(0.5)
    assert task.done(), "it does not end"
    return events, await task, clock.now() - began


@pytest.mark.parametrize("seconds", [0.0, 1.5, 50.0])
async def test_text_after_a_finish_reason_arrives_however_late(
    clock: FakeClock, seconds: float
) -> None:
    """A round of code execution, with silences as long as they may be."""
    script = Script(clock, *apart(map(data, TOOL_ROUND), seconds))
    events, error, _ = await play(clock, script)
    assert error is None
    assert "Let me see. Two." == "".join(texts(events))
    assert content.USAGE_QUALITY_EXACT == events[-1].completed.usage.quality


@parameters("streamGenerateContent")
@pytest.mark.parametrize("merge", [True, False])
async def test_recorded_streams_come_out_whole_however_late(
    recording: Recording, clock: FakeClock, *, merge: bool
) -> None:
    """With half a minute before every event, also where a reason to finish is not the last word."""
    pieces = recording.body.split(b"\r\n\r\n")
    script = Script(clock, *apart((piece + b"\r\n\r\n" for piece in pieces if piece), 30.0))
    events, error, _ = await play(clock, script, merge=merge)
    assert error is None
    whole = [
        part["text"]
        for found in recording.events
        for candidate in found.get("candidates", [])
        for part in candidate.get("content", {}).get("parts", [])
        if "text" in part
    ]
    assert "".join(whole) == "".join(texts(events))
    assert events[-1].HasField("completed")


async def test_an_answer_ends_with_its_body_and_not_later(clock: FakeClock) -> None:
    """Nothing is waited for once the body has ended."""
    script = Script(clock, data(event("a")), data(LAST))
    events, error, seconds = await play(clock, script)
    assert (None, True) == (error, events[-1].HasField("completed"))
    assert seconds <= 0.5


async def test_a_body_that_never_ends_ends_by_the_time_for_silence(clock: FakeClock) -> None:
    """An answer that looks whole completes before that time fails it, with a warning."""
    script = Script(clock, data(event("a")), data(LAST), None)
    events, error, seconds = await play(clock, script, idle=20.0)
    assert error is None
    done = events[-1].completed
    assert content.USAGE_QUALITY_ESTIMATED == done.usage.quality
    assert ["END_NOT_SEEN"] == [warning.code for warning in done.warnings]
    assert 18.0 <= seconds < 20.0
    assert 1 <= script.closed


@pytest.mark.parametrize(
    "pieces",
    [
        [data(event("a"))],
        [data(event("a", **STOP)), data(LAST)],
        [data(LAST), b"data: {"],
        [data(found) for found in TOOL_ROUND[:2]],
    ],
)
async def test_silence_where_more_may_come_is_a_failure(
    clock: FakeClock, pieces: list[bytes]
) -> None:
    """What was said is delivered."""
    events, error, seconds = await play(clock, Script(clock, *pieces, None), idle=20.0)
    assert isinstance(error, IdleTimeout)
    assert "" != "".join(texts(events))
    assert 18.0 <= seconds <= 20.5


async def test_comments_do_not_keep_an_answer_alive(clock: FakeClock) -> None:
    """They show that a proxy is there, not that the model is at work: the bound stays."""
    pings = apart([b": ping\n\n", b"data: null\n\n"] * 100, 2.0)
    events, error, seconds = await play(clock, Script(clock, data(LAST), *pings), idle=20.0)
    assert (None, "b") == (error, "".join(texts(events)))
    assert 18.0 <= seconds < 20.0
    script = Script(clock, data(event("a")), *pings)
    events, error, seconds = await play(clock, script, idle=20.0)
    assert isinstance(error, IdleTimeout)
    assert seconds <= 20.5


async def test_text_after_comments_after_a_finish_reason_arrives(clock: FakeClock) -> None:
    """Within the time for silence they change nothing."""
    pings = apart([b": ping\n\n"] * 6, 0.5)
    script = Script(clock, data(event("one ", **STOP)), *pings, data(LAST))
    events, error, _ = await play(clock, script)
    assert (None, "one b") == (error, "".join(texts(events)))


async def test_a_server_that_says_it_is_done_is_given_a_second(clock: FakeClock) -> None:
    """Then the answer completes, whole and exact, though the body has no end."""
    script = Script(clock, data(event("a", **STOP)), b"data: [DONE]\n\n", None)
    events, error, seconds = await play(clock, script)
    assert error is None
    assert content.USAGE_QUALITY_EXACT == events[-1].completed.usage.quality
    assert seconds <= 1.5


@pytest.mark.parametrize(("late", "waited"), [(0.8, 1.0), (2.0, 1.5), (None, 1.5)])
async def test_the_end_after_it_is_done_is_waited_for(
    clock: FakeClock, late: float | None, waited: float
) -> None:
    """For a second and no longer: a connection whose body has ended can be used again."""
    script = Script(clock, data(event("a", **STOP)), b"data: [DONE]\n\n", late)
    _, error, seconds = await play(clock, script)
    assert error is None
    assert waited - 0.5 <= seconds <= waited


async def test_a_short_time_for_silence_counts_as_well(clock: FakeClock) -> None:
    """Below a second, too, the answer completes before that time fails it."""
    events, error, seconds = await play(clock, Script(clock, data(LAST), None), idle=0.8)
    assert error is None
    assert ["END_NOT_SEEN"] == [warning.code for warning in events[-1].completed.warnings]
    assert seconds <= 1.0


async def test_without_a_time_for_silence_only_the_body_ends_a_stream(clock: FakeClock) -> None:
    """0 is no limit."""
    script = Script(clock, data(LAST), 900.0)
    events, error, seconds = await play(clock, script, idle=0.0)
    assert error is None
    assert content.USAGE_QUALITY_EXACT == events[-1].completed.usage.quality
    assert 900.0 <= seconds


CUT = StreamCut("cut")


async def test_a_cut_between_two_events_leaves_what_looks_whole(clock: FakeClock) -> None:
    """Completed, with a warning; elsewhere, and in the middle of anything, it is a failure."""
    events, error, _ = await play(clock, Script(clock, data(event("a")), data(LAST), CUT))
    assert error is None
    assert ["END_NOT_SEEN"] == [warning.code for warning in events[-1].completed.warnings]
    for script in (
        Script(clock, data(event("a")), CUT),
        Script(clock, data(LAST), b"data: {", CUT),
        Script(clock, data(LAST), b"{", CUT),
        Script(clock, data(LAST), CUT, in_mid_chunk=True),
        Script(clock, data(event("a", **STOP)), data(LAST), CUT),
        Script(clock, *map(data, TOOL_ROUND[:2]), CUT),
    ):
        events, error, _ = await play(clock, script)
        assert isinstance(error, StreamCut)
        assert "" != "".join(texts(events))


async def test_half_an_event_at_a_clean_end_is_a_cut(clock: FakeClock) -> None:
    """Not malformed; after an answer that looks whole it leaves that, with a warning."""
    for half in (b'data: {"candid', b"dat", b'{"error": {'):
        events, error, _ = await play(clock, Script(clock, data(event("a")), half))
        assert isinstance(error, StreamCut)
        assert "a" == "".join(texts(events))
        events, error, _ = await play(clock, Script(clock, data(LAST), half))
        assert error is None
        assert ["END_NOT_SEEN"] == [warning.code for warning in events[-1].completed.warnings]
