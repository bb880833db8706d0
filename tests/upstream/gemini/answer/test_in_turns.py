"""What takes long of an answer, done so that others are served meanwhile."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.config.sections.execution import ExecutionOptions
from gemini_backend.errors import FirstTokenTimeout, IdleTimeout, MalformedAnswer
from gemini_backend.policies.attempts.attempt_timeouts import AttemptTimeouts
from gemini_backend.upstream.gemini.answer import in_turns
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.body import EventReader
from gemini_backend.upstream.gemini.failure import Failures
from tests.support.clock import FakeClock
from tests.support.layers.alone import Alone
from tests.support.messages.calls import make_call
from tests.upstream.gemini.script import Script, upstream_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call

REQUEST = pb.ExecuteRequest(prompt="hi", model="models/m")
EMPTY, COUNTS, COMMENT = b"data: {}\r\n\r\n", b'data: {"usageMetadata":{}}\r\n\r\n', b": x\r\n\r\n"
BLANK = b'data: {"candidates":[{"content":{"parts":[{"text":""}]}}]}\r\n\r\n'


def said(text: str, **more: Any) -> bytes:
    """Return an event with a piece of text."""
    found = {"candidates": [{"content": {"parts": [{"text": text}]}, **more}]}
    return b"data: " + json.dumps(found).encode() + b"\r\n\r\n"


def answer() -> AnswerStream:
    """Return an answer that has not begun."""
    return AnswerStream("models/m", Failures(), merge=False)


async def test_a_long_read_is_cut_as_a_short_one() -> None:
    """The events are the same, wherever the read is divided."""
    read = said("é" * 40_000) * 5 + b": comment\n\n" + said("b") * 1000
    whole = EventReader(10**6).feed(read)
    assert whole == await in_turns.cut(EventReader(10**6), read)


async def test_many_events_are_told_a_few_hundred_at_a_time() -> None:
    """Others run in between; nothing is lost, and the order stays."""
    payloads = [said(f"{n}")[6:-4] for n in range(1000)]
    assert in_turns.are_many(payloads)
    task = asyncio.create_task(in_turns.told(answer(), payloads))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert 4 <= turns <= 8
    texts = [event.delta.parts[0].text for event in task.result()[1:]]
    assert [f"{n}" for n in range(1000)] == texts


async def test_a_large_event_is_read_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it says is the same."""
    payload = said("x" * in_turns.LARGE)[6:-4]
    seen = []
    feed = AnswerStream.feed

    def watched(self: AnswerStream, payloads: Any) -> Any:
        seen.append(threading.current_thread() is threading.main_thread())
        return feed(self, payloads)

    monkeypatch.setattr(AnswerStream, "feed", watched)
    assert in_turns.are_many([payload])
    events = await in_turns.told(answer(), [payload])
    assert [False] == seen
    assert "x" * in_turns.LARGE == events[1].delta.parts[0].text


@pytest.mark.parametrize(("size", "here"), [(in_turns.LARGE, True), (in_turns.LARGE + 1, False)])
async def test_a_large_body_is_read_in_a_thread(size: int, here: bool) -> None:
    """A small one is not worth it."""

    def read(_body: bytes) -> bool:
        return threading.current_thread() is threading.main_thread()

    assert here is await in_turns.aside(b"x" * size, read, b"")


async def test_a_failure_ends_it() -> None:
    """What comes behind an event that is one is not looked at."""
    stream = answer()
    payloads = [said("a")[6:-4]] * 10 + [b"<html>"] + [said("b")[6:-4]] * 600
    events = await in_turns.told(stream, payloads)
    assert 11 == len(events)
    assert isinstance(stream.failure, MalformedAnswer)


def usual_events() -> list[tuple[list[bytes], bool]]:
    return [([], False), ([said("a")], False), ([b"x"] * 256, False), ([b"x"] * 257, True)]


@pytest.mark.parametrize(("payloads", "expected"), usual_events())
def test_what_usually_comes_is_not_many(payloads: list[bytes], expected: bool) -> None:
    """So that it costs nothing more."""
    assert expected is in_turns.are_many(payloads)


async def ended(clock: FakeClock, steps: list[Any]) -> tuple[int, Any, float]:
    """Return how many events an upstream yields, and how and when that ends.

    It is given ten seconds to the first token, and five of silence after it.
    """
    options = ExecutionOptions(first_token_timeout_seconds=10.0, idle_timeout_seconds=5.0)
    upstream = upstream_of(Script(clock, *steps, None))
    call = msgspec.structs.replace(make_call(clock, deadline=60.0))
    began, count = clock.now(), 0

    def proceed(own: Call, request: Any) -> AsyncIterator[Any]:
        return upstream.stream(own, request)

    async def read() -> None:
        nonlocal count
        layer = Alone(AttemptTimeouts(lambda: options, clock))
        async with aclosing(layer.stream(call, REQUEST, proceed)) as events:  # type: ignore[type-var]
            async for _ in events:
                count += 1

    task = asyncio.create_task(read())
    for _ in range(600):
        for _ in range(20):
            await asyncio.sleep(0)
        if task.done():
            break
        await clock.advance(0.1)
    return count, task.exception(), clock.now() - began


FLOODS = {"empty": EMPTY, "counts": COUNTS, "comments": COMMENT, "blank": BLANK}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_no_flood_is_a_first_token(flood: bytes) -> None:
    """What says nothing does not end the wait for the first piece, however often it comes."""
    count, error, seconds = await ended(
        FakeClock(), [step for _ in range(300) for step in (0.1, flood)]
    )
    assert 0 == count
    assert isinstance(error, FirstTokenTimeout)
    assert 9.9 <= seconds <= 10.3


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_no_flood_ends_a_silence(flood: bytes) -> None:
    """Nor is an answer under way that has nothing more to say."""
    steps = [said("a"), *(step for _ in range(300) for step in (0.1, flood))]
    count, error, seconds = await ended(FakeClock(), steps)
    assert 2 == count
    assert isinstance(error, IdleTimeout)
    assert 4.9 <= seconds <= 5.3
