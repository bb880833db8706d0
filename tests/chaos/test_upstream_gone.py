"""An upstream that is not there, goes away in the middle of everything, and comes back."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.judged_executions import (
    BROKEN_OFF,
    REFUSED,
    RIGHT,
    crowd,
    saying,
    streamed,
    told,
    whole,
)
from tests.support.servers.process import serving, simulating, upstream_at

if TYPE_CHECKING:
    from bench.judging.verdicts import Judgement
    from tests.support.servers.process import Process

BREAK_SECONDS = 1.0
PACED = ("--chunk-delay", "0.03")


def settings(url: str, **more: str) -> dict[str, str]:
    """Return the environment of a server whose breaker stays open for a second only."""
    own = {"BREAKER__BREAK_SECONDS": str(BREAK_SECONDS), **more}
    return upstream_at(url, **{f"GEMINI_BACKEND_{name}": value for name, value in own.items()})


async def test_killed_and_started_again_in_the_middle_of_a_crowd() -> None:
    """Kill -9 under 300 executions: each is right or truly told; then the service is whole."""
    async with simulating(*PACED) as first:
        port = int(first.ports["http"].rpartition(":")[2])
        async with (
            serving(settings(first.http)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            stub = rpc.ExecuteServiceStub(channel)

            async def ask(number: int) -> Judgement:
                await asyncio.sleep(number * 0.01)
                text = told(number)
                request = pb.ExecuteRequest(prompt=saying(text))
                return await (whole if number % 4 == 0 else streamed)(stub, request, text)

            asking = asyncio.ensure_future(crowd(ask, range(300), at_once=300))
            await asyncio.sleep(1)
            first.send(signal.SIGKILL)
            await first.ended()
            await asyncio.sleep(0.8)
            async with simulating(*PACED, port=port):
                tally = await asking
                # how many get through depends on how fast the machine starts processes
                assert tally.count(RIGHT) >= 30
                assert tally.count(BROKEN_OFF) >= 1
                await is_whole_within(stub, BREAK_SECONDS + 1)
                after = await crowd(ask, range(30), at_once=30)
                assert 30 == after.count(RIGHT)


async def is_whole_within(stub: Any, seconds: float) -> None:
    """Ask until an answer comes.

    Raises:
        AssertionError: none has come in time.
    """
    end = time.monotonic() + seconds
    while True:
        judged = await streamed(stub, pb.ExecuteRequest(prompt=saying("back")), "back")
        if judged.verdict is RIGHT:
            return
        assert time.monotonic() < end, judged
        await asyncio.sleep(0.05)


async def test_an_upstream_that_comes_after_the_server() -> None:
    """The server starts without it, says what is missing, and answers once it is there."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    async with (
        serving(settings(f"http://127.0.0.1:{port}", RETRY__INITIAL_DELAY_MS="10")) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub = rpc.ExecuteServiceStub(channel)
        failed = await failure_of(collect(stub.Execute(pb.ExecuteRequest(prompt="anybody?"))))
        assert "UPSTREAM_UNREACHABLE" == failed.reason
        assert 6 == len(failed.execution.attempts)
        async with simulating(port=port):
            await is_whole_within(stub, BREAK_SECONDS + 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connections_that_fail(scheme: str) -> None:
    """A refused port, and one that speaks no TLS, are typed, retried, and then left alone."""
    async with simulating() as simulator:
        address = simulator.ports["http"]
        if scheme == "http":
            await simulator.stop()
        async with (
            serving(settings(f"{scheme}://{address}", RETRY__INITIAL_DELAY_MS="1")) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            stub = rpc.ExecuteServiceStub(channel)

            async def ask(number: int) -> Judgement:
                return await streamed(stub, pb.ExecuteRequest(prompt=f"hello {number}"), "")

            tally = await crowd(ask, range(60), at_once=10)
            assert 60 == tally.count(REFUSED)
            assert {"UPSTREAM_UNREACHABLE", "POLICY_CIRCUIT_OPEN"} >= set(tally.reasons)
            assert tally.reasons["POLICY_CIRCUIT_OPEN"] >= 30
            began = time.monotonic()
            await ask(0)
            assert time.monotonic() - began < 0.05


async def test_killed_again_and_again() -> None:
    """An upstream that is killed every half second still serves; nothing wrong gets through."""
    # a slow machine takes seconds to start it again
    patient = {"BREAKER__BREAK_SECONDS": "0.2", "BREAKER__MAX_WAIT_SECONDS": "20"}
    async with simulating(*PACED) as first:
        port = int(first.ports["http"].rpartition(":")[2])
        async with (
            serving(settings(first.http, **patient)) as server,
            grpc.aio.insecure_channel(server.grpc) as channel,
        ):
            stub = rpc.ExecuteServiceStub(channel)

            async def ask(number: int) -> Judgement:
                await asyncio.sleep(number * 0.02)
                text = told(number, 20)
                return await streamed(stub, pb.ExecuteRequest(prompt=saying(text)), text)

            asking = asyncio.ensure_future(crowd(ask, range(250), at_once=250))
            await asyncio.sleep(0.5)
            await killed(first)
            for _ in range(3):
                async with simulating(*PACED, port=port) as again:
                    await asyncio.sleep(0.5)
                    await killed(again)
            async with simulating(*PACED, port=port):
                tally = await asking
                assert tally.count(RIGHT) >= 30
                await is_whole_within(stub, 2)


async def killed(simulator: Process) -> None:
    """Kill it with signal 9."""
    simulator.send(signal.SIGKILL)
    await simulator.ended()
