"""Another door, of a few lines, gets the same chain, services, statuses and errors.

Covers: api/execute.py
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import UpstreamUnavailable
from gemini_backend.telemetry.logs.log_writer import LogWriter
from tests.support.composed import NoUpstream, composed
from tests.support.json_door import JsonDoor
from tests.support.upstreams.scripted_attempts import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.clock import FakeClock

COLD = {"temperature": 0}


class Answering(NoUpstream):
    """Answers with one text, and counts; fails as often as told before."""

    def __init__(self) -> None:
        self.asked: list[pb.ExecuteRequest] = []
        self.failures: list[Exception] = []

    async def process(self, _call: Any, request: Any) -> pb.ProcessResponse:
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)
        said = content.Content(role="model", parts=[content.Part(text="hello")])
        stop = content.FINISH_REASON_STOP
        return pb.ProcessResponse(
            candidates=[content.Candidate(content=said, finish_reason=stop)],
            started=pb.Started(model_version="gemini-3.5-flash"),
            usage=content.Usage(prompt_token_count=10, candidates_token_count=5),
        )


class House:
    """The composed server behind a JSON door."""

    def __init__(self, clock: FakeClock) -> None:
        self.upstream = Answering()
        self.parts, self.assembly = composed(clock, self.upstream)
        self.log = io.StringIO()
        self.lines = LogWriter(self.log)
        self.parts.log_calls(self.lines)
        self.door = JsonDoor(self.assembly, self.parts.reception(), clock)

    async def ask(self, **fields: Any) -> dict[str, Any]:
        return await self.door.process(json.dumps(fields))

    def logged(self) -> list[dict[str, Any]]:
        self.lines.flush()
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
async def house(clock: FakeClock) -> AsyncIterator[House]:
    """Nothing asked yet."""
    made = House(clock)
    yield made
    await made.assembly.aclose()
    await made.parts.aclose()


async def test_an_answer_comes_through_the_whole_chain(house: House) -> None:
    """Numbered, timed, priced, by the default model, as over gRPC."""
    answer = await house.ask(prompt="hi")
    assert "hello" == answer["candidates"][0]["content"]["parts"][0]["text"]
    assert "executions/json-1" == answer["execution"]
    assert int(answer["cost"]["costNanoUsd"]) > 0
    assert ["models/gemini-flash-latest"] == [one.model for one in house.upstream.asked]


async def test_the_same_objects_stand_behind_every_door(house: House) -> None:
    """What one door put into the cache the next request gets out of it."""
    first = await house.ask(prompt="hi", generationConfig=COLD)
    second = await house.ask(prompt="hi", generationConfig=COLD)
    assert 1 == len(house.upstream.asked)
    assert ("CACHE_STATUS_MISS", "CACHE_STATUS_HIT") == tuple(
        answer["started"]["cacheStatus"] for answer in (first, second)
    )


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({}, "CALLER_INVALID_REQUEST"),
        ({"prompt": "x", "session": "sessions/none"}, "CALLER_UNKNOWN_RESOURCE"),
        ({"nobody": "knows"}, "CALLER_MALFORMED_MESSAGE"),
    ],
)
async def test_a_refusal_is_the_same_status(
    house: House, asked: dict[str, Any], reason: str
) -> None:
    """Code, message and ErrorInfo are those that gRPC's door sends."""
    refused = await house.ask(**asked)
    assert reason == refused["details"][0]["reason"]
    assert "gemini.backend" == refused["details"][0]["domain"]
    assert [] == house.upstream.asked


async def test_a_failed_attempt_is_retried(house: House, clock: FakeClock) -> None:
    """Resilience is the chain's, whichever door the request came by."""
    house.upstream.failures = [UpstreamUnavailable("busy")]
    answer = await finish(clock, house.ask(prompt="hi"))
    assert (2, "hello") == (
        len(house.upstream.asked),
        answer["candidates"][0]["content"]["parts"][0]["text"],
    )


async def test_a_defect_does_not_leave_the_house(house: House) -> None:
    """A foreign exception is an opaque status, and a line in the log of calls."""
    house.upstream.failures = [KeyError("private")]
    failed = await house.ask(prompt="hi")
    assert "BACKEND_UNEXPECTED" == failed["details"][0]["reason"]
    assert "private" not in json.dumps(failed)
    assert [("INTERNAL", "BACKEND_UNEXPECTED")] == [
        (line["code"], line["reason"]) for line in house.logged()
    ]


async def test_requests_are_counted_and_logged(house: House) -> None:
    """The log of calls has one line per request, with its execution."""
    await house.ask(prompt="hi", requestId="r-1")
    (line,) = house.logged()
    assert ("OK", "executions/json-1", "r-1") == (
        line["code"],
        line["execution"],
        line["request_id"],
    )
