"""A mock that others wrote to judge clients: its faults, its quotas, and its own verdict on us.

It speaks Gemini's dialect at `/gemini`. Its verdict rests on the wire alone.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.servers.foreign_mocks import llmock
from tests.support.servers.judged_executions import (
    BROKEN_OFF,
    REFUSED,
    RIGHT,
    crowd,
    say,
    streamed,
    whole,
)
from tests.support.servers.process import serving, started, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bench.judging.verdicts import Judgement

ECHO = "LLMOCK_RESPONSE_STYLE=echo"
# It warns of waits that do not grow. Ours are drawn between 0 and a limit that grows, so that a
# later one may well be shorter than an earlier one.
OF_JITTER = {"no_backoff"}
# What generates; the list of models is read by the server itself, and read again later.
GENERATING = {"match": {"path": "*enerateContent"}}
STREAMS = {"match": {"stream": True}}


@dataclass
class Mocked:
    """The mock, and a stub of the server in front of it."""

    url: str
    stub: Any

    async def ask(self, number: int, *, model: str = "") -> Judgement:
        """Ask for one answer, every third as a whole."""
        prompt = f"call number {number}"
        request = pb.ExecuteRequest(prompt=prompt, model=model)
        one = whole if number % 3 == 0 else streamed
        return await one(self.stub, request, f"Hello! You said: {prompt}")

    async def script(self, *behaviors: dict[str, Any]) -> None:
        """Tell the mock what to do next."""
        await self._post("scenario", {"behaviors": behaviors})

    async def verdict(self) -> dict[str, Any]:
        """Return the mock's report on its client."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/_llmock/verdict") as answer,
        ):
            found: dict[str, Any] = await answer.json()
        say(f"{found['attempts']} attempts, {found['faults_injected']} faults")
        say("\n".join(f"{one['code']}: {one['title']}" for one in found["findings"]))
        return found

    async def _post(self, what: str, payload: dict[str, Any]) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/_llmock/{what}", json=payload) as answer,
        ):
            assert answer.status < 300, await answer.text()


@asynccontextmanager
async def mocked(seed: int, *settings: str, **server: str) -> AsyncIterator[Mocked]:
    """Run the mock with its settings, and the server with ours."""
    say(f"seed {seed}")
    own = {f"GEMINI_BACKEND_{name}": value for name, value in server.items()}
    async with (
        started(*llmock("llmock_serve.py"), str(seed), ECHO, *settings) as mock,
        serving(upstream_at(f"{mock.http}/gemini", **own)) as running,
        grpc.aio.insecure_channel(running.grpc) as channel,
    ):
        yield Mocked(mock.http, rpc.ExecuteServiceStub(channel))


def codes(verdict: dict[str, Any]) -> set[str]:
    """Return what the mock found in calls that generate, by its own names."""
    found = verdict["findings"]
    return {one["code"] for one in found if one["path"].endswith("enerateContent")}


@pytest.mark.parametrize("seed", [81])
async def test_errors_at_random(seed: int) -> None:
    """Of 15 % errors nobody notices any, and the mock finds nothing wrong with how they are met."""
    rates = ("500=0.07", "502=0.03", "503=0.03", "429=0.02")
    async with mocked(seed, *(f"LLMOCK_ERROR_RATE_{rate}" for rate in rates)) as one:
        tally = await crowd(one.ask, range(120), at_once=20)
        verdict = await one.verdict()
    assert tally.count(RIGHT) >= 117
    assert verdict["passed"]
    assert verdict["faults_injected"] >= 8
    assert codes(verdict) <= OF_JITTER


@pytest.mark.parametrize("seed", [91, 92, 93])
async def test_a_fifth_of_all_calls_fails(seed: int) -> None:
    """At least 999 of 1,000 executions succeed, at no more than 1.3 upstream calls each."""
    async with mocked(seed, "LLMOCK_ERROR_RATE_500=0.1", "LLMOCK_ERROR_RATE_503=0.1") as one:
        tally = await crowd(one.ask, range(1000), at_once=40)
        verdict = await one.verdict()
    say(str(tally))
    assert tally.count(RIGHT) >= 999
    assert verdict["faults_injected"] >= 150
    assert verdict["attempts"] <= 1300


async def test_faults_by_script() -> None:
    """What is worth a retry gets one, at the time it names; what is not gets none."""
    quick = {"EXECUTION__FIRST_TOKEN_TIMEOUT_SECONDS": "1", "BREAKER__ENABLED": "false"}
    async with mocked(82, **quick) as one:
        for behavior in (
            {"type": "fail", "status": 429, "retry_after": 1, "times": 2, **GENERATING},
            {"type": "fail", "status": 503, "retry_after": 1, **GENERATING},
            {"type": "fail", "status": 500, "times": 2, **GENERATING},
            {"type": "stream_fault", "kind": "disconnect", "after_chunks": 0, **STREAMS},
            {"type": "stream_fault", "kind": "truncate", "after_chunks": 0, **STREAMS},
            {"type": "stream_fault", "kind": "malformed", "after_chunks": 0, **STREAMS},
            {"type": "stream_fault", "kind": "stall", "after_chunks": 0, "stall_seconds": 3},
            {"type": "slow_first_token", "seconds": 0.4, **STREAMS},
            {"type": "delay", "seconds": 0.4, **GENERATING},
        ):
            await one.script(behavior)
            assert RIGHT == (await one.ask(1)).verdict, behavior
        for status, reason in (
            (400, "CALLER_REFUSED_BY_MODEL_API"),
            (401, "UPSTREAM_KEY_REFUSED"),
            (403, "CALLER_REFUSED_BY_MODEL_API"),  # the key is well: it may list the models
            (404, "CALLER_UNKNOWN_RESOURCE"),
        ):
            await one.script({"type": "fail", "status": status, **GENERATING})
            judged = await one.ask(status)  # each its own: the same again would look like a retry
            assert (REFUSED, reason) == (judged.verdict, judged.reason)
        await one.script({"type": "fail", "status": 500, "times": None, **GENERATING})
        assert "UPSTREAM_UNAVAILABLE" == (await one.ask(4)).reason
        verdict = await one.verdict()
    assert verdict["passed"]
    # a retry that is there before the mock has noted that we left looks like another call to it
    assert codes(verdict) <= OF_JITTER | {"malformed_chunk_ignored"}


@pytest.mark.parametrize("seed", [83])
async def test_streams_that_break(seed: int) -> None:
    """After the first piece nothing is made again: the caller is told, unseen by the mock."""
    # to its eyes a client that does not come back has taken half an answer for a whole one
    kinds = ("TRUNCATE=0.06", "DISCONNECT=0.06", "MALFORMED=0.06", "STALL=0.02")
    settings = (f"LLMOCK_STREAM_FAULT_{kind}" for kind in kinds)
    async with mocked(seed, *settings, EXECUTION__IDLE_TIMEOUT_SECONDS="0.5") as one:
        tally = await crowd(one.ask, range(200), at_once=20)
        verdict = await one.verdict()
    assert 200 == tally.count(RIGHT, BROKEN_OFF)
    assert tally.count(BROKEN_OFF) >= 10
    assert codes(verdict) <= {"truncated_stream_accepted", "malformed_chunk_ignored", "gave_up"}
    # each of its findings is a stream of which our caller was told that it broke off
    assert len(verdict["findings"]) <= tally.count(BROKEN_OFF)


async def test_a_quota_by_the_minute() -> None:
    """Beyond its quota nobody is early: every wait that it names is kept."""
    async with mocked(84, "LLMOCK_RPM=60") as one:
        judged = await asyncio.gather(*(one.ask(number) for number in range(70)))
        verdict = await one.verdict()
    assert {RIGHT, REFUSED} >= {one.verdict for one in judged}
    assert sum(one.verdict is RIGHT for one in judged) >= 60
    reasons = {one.reason for one in judged if one.verdict is REFUSED}
    assert reasons <= {"UPSTREAM_THROTTLED", "POLICY_QUOTA_EXHAUSTED"}
    assert verdict["passed"]
    assert codes(verdict) <= OF_JITTER
    assert verdict["attempts"] <= 60 + 10 * 6 + 5  # and the list of models
