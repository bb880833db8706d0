"""A Gemini mock that others wrote, failing at random, behind the whole default chain."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.servers.foreign_mocks import aimock
from tests.support.servers.judged_executions import (
    BROKEN_OFF,
    RIGHT,
    crowd,
    say,
    streamed,
    told,
    whole,
)
from tests.support.servers.process import serving, started, upstream_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from bench.judging.verdicts import Judgement

SCRIPT = "aimock_chaos.mjs"
BREAK = {"GEMINI_BACKEND_BREAKER__BREAK_SECONDS": "0.5"}


def asking(
    stub: Any, kinds: tuple[str, ...] = ("Answer",)
) -> Callable[[int], Awaitable[Judgement]]:
    """Return what asks for an answer by its number; the mock says what it is asked."""

    async def ask(number: int) -> Judgement:
        kind = kinds[number % len(kinds)]
        text = told(number, 12).replace("Answer", kind, 1)
        request = pb.ExecuteRequest(prompt=text)
        return await (whole if number % 4 == 0 else streamed)(stub, request, text)

    return ask


@pytest.mark.parametrize("seed", [51])
async def test_faults_at_random(seed: int) -> None:
    """Dropped, malformed, throttled, disconnected: what can be cured is, the rest is told truly."""
    say(f"seed {seed}")
    async with (
        started(*aimock(SCRIPT), str(seed), "0") as mock,
        serving(upstream_at(mock.http)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub = rpc.ExecuteServiceStub(channel)
        tally = await crowd(asking(stub), range(200), at_once=30)
    assert tally.count(RIGHT) >= 192
    assert 0 == tally.reasons["POLICY_CIRCUIT_OPEN"]


async def test_cut_gone_and_late() -> None:
    """A stream that breaks off is told as such; one that is late is waited for."""
    async with (
        started(*aimock(SCRIPT), "61", "0") as mock,
        serving(upstream_at(mock.http, GEMINI_BACKEND_BREAKER__ENABLED="false")) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub = rpc.ExecuteServiceStub(channel)
        kinds = (
            "Answer",
            "Cut",
            "Gone",
            "Late",
        )  # every fourth, an Answer, is asked for as a whole
        tally = await crowd(asking(stub, kinds), range(80), at_once=20)
    assert tally.count(RIGHT) >= 38
    assert 40 == tally.count(BROKEN_OFF)


async def test_killed_and_started_again() -> None:
    """Kill -9 of the mock: each execution is right or truly told, and then all is well again."""
    command = aimock(SCRIPT)
    async with started(*command, "71", "0") as first:
        port = first.ports["http"].rpartition(":")[2]
        async with (
            serving(upstream_at(first.http, **BREAK)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            stub = rpc.ExecuteServiceStub(channel)
            running = asyncio.ensure_future(crowd(asking(stub), range(120), at_once=20))
            await asyncio.sleep(0.4)
            first.send(signal.SIGKILL)
            await first.ended()
            async with started(*command, "72", port):
                tally = await running
                await asyncio.sleep(1)
                after = await crowd(asking(stub), range(200, 240), at_once=20)
    assert tally.count(RIGHT) >= 30
    assert after.count(RIGHT) >= 38
