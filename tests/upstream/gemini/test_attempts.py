"""Each attempt at the model API is published when it has ended, with how it ended."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING
from unittest.mock import AsyncMock

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Work
from gemini_backend.errors import OutOfDescriptors, Throttled
from gemini_backend.telemetry.events import AttemptFinished, BodyHeld, DescriptorsRanOut
from tests.support.layers.recorder import Recorder

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.upstream.gemini import GeminiUpstream
    from tests.upstream.gemini.conftest import FakeApi

REQUEST = pb.ExecuteRequest(prompt="hi", model="models/m")
CANDIDATE = {"content": {"parts": [{"text": "a"}], "role": "model"}}
PIECE = b"data: " + json.dumps({"candidates": [CANDIDATE]}).encode() + b"\r\n\r\n"


@pytest.fixture
def heard(upstream: GeminiUpstream) -> Recorder:
    """A listener of what the upstream publishes."""
    recorder = Recorder()
    upstream._bus = recorder.bus
    return recorder


def ends(heard: Recorder, call: Call) -> list[tuple[str, str]]:
    """Return outcome and reason of each attempt that was heard of, as it is on record."""
    events = heard.of(AttemptFinished)
    records = call.outcome.attempts
    assert [(one.model, one.key_id) for one in records] == [(e.model, e.key_id) for e in events]
    assert {(call.execution, Work.EXECUTION)} == {(e.execution, e.work) for e in events}
    assert all(event.seconds > 0 for event in events)
    return [(event.outcome, event.reason) for event in events]


async def test_attempts_that_succeed_and_fail(
    api: FakeApi, upstream: GeminiUpstream, call: Call, heard: Recorder
) -> None:
    """A failure has its reason."""
    api.replies(json.dumps({"candidates": [CANDIDATE]}))
    await upstream.process(call, REQUEST)
    api.replies("{}", status=429)
    with pytest.raises(Throttled):
        await upstream.process(call, REQUEST)
    assert [("succeeded", ""), ("failed", "UPSTREAM_THROTTLED")] == ends(heard, call)


async def test_an_attempt_without_a_descriptor_is_told(
    upstream: GeminiUpstream, call: Call, heard: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Health hears of it, beside its end."""
    refusal = AsyncMock(side_effect=OutOfDescriptors("none left"))
    monkeypatch.setattr(upstream._transport, "send", refusal)
    with pytest.raises(OutOfDescriptors):
        await upstream.process(call, REQUEST)
    assert [call.execution] == [event.execution for event in heard.of(DescriptorsRanOut)]
    assert [("failed", "BACKEND_OUT_OF_DESCRIPTORS")] == ends(heard, call)


async def test_an_attempt_that_is_left(
    api: FakeApi, upstream: GeminiUpstream, call: Call, heard: Recorder
) -> None:
    """It is cancelled, whoever left it; it is published once."""
    api.streams(PIECE, end=lambda *_: asyncio.sleep(60))
    async with aclosing(upstream.stream(call, REQUEST)) as events:
        assert await anext(events)
        assert [] == heard.events
    assert [("cancelled", "")] == ends(heard, call)


async def test_large_bodies_are_counted_while_they_are_held(
    api: FakeApi, upstream: GeminiUpstream, call: Call, heard: Recorder
) -> None:
    """In steps of 1 MiB, and until the attempt has ended; small ones not at all."""
    text = {"content": {"parts": [{"text": "a" * 3_000_000}], "role": "model"}}
    api.replies(json.dumps({"candidates": [CANDIDATE]}))
    await upstream.process(call, REQUEST)
    small = heard.of(BodyHeld)
    api.replies(json.dumps({"candidates": [text]}))
    await upstream.process(call, REQUEST)
    changes = [event.by for event in heard.of(BodyHeld)]
    assert ([], 0) == (small, sum(changes))
    assert sum(changes[:-1]) > 2_000_000
