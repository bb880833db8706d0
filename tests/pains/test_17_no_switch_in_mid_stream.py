"""Row 17: a fallback in mid-stream repeated text, or hid it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from tests.support.messages.failures import broken_off
from tests.support.servers.simulator_stack import Stack, stack, text_of

TEXT = " ".join(f"word{number}" for number in range(80))
FAULTS = {
    "cut": "UPSTREAM_STREAM_CUT",
    "cut_inside": "UPSTREAM_STREAM_CUT",
    "reset": "UPSTREAM_STREAM_CUT",
    "garbage": "UPSTREAM_MALFORMED_ANSWER",
    "stream_error": "UPSTREAM_UNAVAILABLE",
    "stall": "UPSTREAM_IDLE_TIMEOUT",
}


async def test_pain_17_after_the_first_delta_nothing_is_switched() -> None:
    """A stream that breaks off ends with a status that says what was delivered, and no more."""
    # all that could ask again is on: retries, a second attempt beside a slow one, other models
    settings = {
        "FALLBACK__MODELS": "gemini-3.8-flash,gemini-3.5-flash-lite",
        "HEDGE__ENABLED": "true",
        "HEDGE__DELAY_MS": "2000",
        "EXECUTION__IDLE_TIMEOUT_SECONDS": "0.5",
        "BREAKER__ENABLED": "false",
    }
    async with stack("--chunk-delay", "0.02", **settings) as one:
        places = [(fault, after) for fault in FAULTS for after in (1, 3)]
        await asyncio.gather(*(breaks_off(one, fault, after) for fault, after in places))
        assert len(places) == await one.generated()


async def breaks_off(one: Stack, fault: str, after: int) -> None:
    """Ask for an answer that breaks off after so many events, and check what is said of it."""
    prompt = f"[[say: {TEXT}]] [[fault: {fault} after={after}]]"
    events, failed = await broken_off(one.stub.Execute(pb.ExecuteRequest(prompt=prompt)))
    told: Any = failed.execution
    deltas = [event for event in events if event.HasField("delta")]
    assert FAULTS[fault] == failed.reason
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
    assert (len(events), len(deltas)) == (told.last_sequence, told.deltas_delivered)
    assert 1 == len(told.attempts)
    text = text_of(events)
    assert text
    assert text == TEXT[: len(text)]


@pytest.mark.parametrize("fault", ["overloaded", "reset", "empty"])
async def test_pain_17_before_it_another_model_answers_alone(fault: str) -> None:
    """A stand-in's answer is its own from the first word to the last, and says whose it is."""
    settings = {"FALLBACK__MODELS": "gemini-3.8-flash", "RETRY__ENABLED": "false"}
    async with stack(**settings) as one:
        await one.script({"match": {"model": "gemini-3.5-flash"}, "fault": {"fault": fault}})
        request = pb.ExecuteRequest(prompt=f"[[say: {TEXT}]]", model="gemini-3.5-flash")
        stream = one.stub.Execute(request)
        events = [event async for event in stream]
    assert TEXT == text_of(events)
    assert "models/gemini-3.8-flash" == events[0].started.served_model
    told = [(attempt.number, attempt.model) for attempt in events[-1].completed.attempts]
    assert [(1, "models/gemini-3.5-flash"), (2, "models/gemini-3.8-flash")] == told
