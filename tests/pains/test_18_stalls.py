"""Row 18: stalled streams hung for ever."""

from __future__ import annotations

import asyncio
import time

import grpc
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import ErrorReason
from tests.support.layers.inproc import collect
from tests.support.messages.failures import broken_off
from tests.support.servers.simulator_stack import Stack, stack, text_of
from tests.support.upstreams.raw_upstreams import stats_of, until

LIMIT, OTHER, SLACK = 0.6, 20, 0.5
FIRST, IDLE, TOTAL = "first_token", "idle", "total"
REASONS = {
    FIRST: "UPSTREAM_FIRST_TOKEN_TIMEOUT",
    IDLE: "UPSTREAM_IDLE_TIMEOUT",
    TOTAL: "UPSTREAM_DEADLINE_EXCEEDED",
}
FAULTS = {FIRST: "stall after=0", IDLE: "stall after=2", TOTAL: "chunk_delay seconds=0.2"}


async def test_pain_18_each_kind_of_silence_has_its_own_end() -> None:
    """First token, silence and the whole each have a time, an error, and leave nothing open."""
    async with stack(RETRY__ENABLED="false") as one:
        await asyncio.gather(*(ends(one, kind) for kind in REASONS))
        settled = await until(
            lambda: stats_of(one.simulator), lambda now: 0 == now["streams_open"], seconds=2
        )
    assert len(REASONS) == settled["aborted"]


async def ends(one: Stack, kind: str) -> None:
    """Ask for an answer that hangs in this way; only the time for this way is short."""
    request = pb.ExecuteRequest(
        prompt=f"[[length: 400]] [[fault: {FAULTS[kind]}]]",
        first_token_timeout=_duration(LIMIT if kind == FIRST else OTHER),
        idle_timeout=_duration(LIMIT if kind == IDLE else OTHER),
    )
    began = time.monotonic()
    stream = one.stub.Execute(request, timeout=LIMIT if kind == TOTAL else OTHER)
    events, failed = await broken_off(stream)
    took = time.monotonic() - began
    assert grpc.StatusCode.DEADLINE_EXCEEDED == failed.code
    if failed.status.details or kind != TOTAL:  # the caller's own clock may be first
        assert REASONS[kind] == failed.reason
    assert (kind != FIRST) == any(event.HasField("delta") for event in events)
    assert LIMIT - 0.05 <= took < LIMIT + SLACK


async def test_pain_18_a_whole_answer_that_falls_silent_is_tried_again() -> None:
    """A body that stops in its middle ends by the time for silence, and the next one is whole."""
    async with stack(RETRY__INITIAL_DELAY_MS="20") as one:
        # the server's own reading of the list of models is not meant
        match = {"first": 1, "method": "generateContent"}
        await one.script({"match": match, "fault": {"fault": "stall"}})
        request = pb.ProcessRequest(prompt="[[say: at last]]", idle_timeout=_duration(LIMIT))
        began = time.monotonic()
        whole = await one.stub.Process(request)
        assert LIMIT <= time.monotonic() - began < LIMIT + SLACK
    assert "at last" == whole.candidates[0].content.parts[0].text
    assert ["UPSTREAM_IDLE_TIMEOUT"] == [
        ErrorReason.Name(attempt.reason).removeprefix("ERROR_REASON_")
        for attempt in whole.attempts[:-1]
    ]


def _duration(seconds: float) -> Duration:
    return Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


async def test_pain_18_a_stall_before_the_first_token_is_tried_again() -> None:
    """Silence before the answer begins costs its time once; the next attempt answers."""
    async with stack(RETRY__INITIAL_DELAY_MS="20") as one:
        await one.script(
            {
                "match": {"first": 1, "method": "streamGenerateContent"},
                "fault": {"fault": "stall", "after": 0},
            }
        )
        began = time.monotonic()
        request = pb.ExecuteRequest(prompt="[[say: at last]]", first_token_timeout=_duration(LIMIT))
        assert "at last" == text_of(await collect(one.stub.Execute(request)))
        assert LIMIT <= time.monotonic() - began < LIMIT + SLACK
