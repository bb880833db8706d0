"""Faults at random, over the whole default chain: no wrong word, none missing, none twice."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from bench.judging import faults
from bench.judging.verdicts import Judgement, judge, judge_beginning
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from gemini.backend.v1.content_pb2 import GenerationConfig
from tests.support.servers.breakable_wire import Wire, wire_to
from tests.support.servers.judged_executions import (
    BROKEN_OFF,
    PATIENCE,
    REFUSED,
    RIGHT,
    crowd,
    read_into,
    say,
    saying,
    streamed,
    told,
    whole,
)
from tests.support.servers.simulator_stack import stack
from tests.support.upstreams.raw_upstreams import stats_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers.simulator_stack import Stack

# What stalls is borne for a second here, not for a minute.
SETTINGS = {"EXECUTION__IDLE_TIMEOUT_SECONDS": "1"}
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
OPEN = "POLICY_CIRCUIT_OPEN"


def script(folder: Path, seed: int, share: float) -> tuple[str, ...]:
    """Return the simulator's arguments: this share of all attempts is struck, paced answers."""
    say(f"seed {seed}")
    file = folder / "faults.json"
    file.write_bytes(faults.script(seed, share))
    return ("--script", str(file), "--chunk-delay", "0.01")


@pytest.mark.parametrize("seed", [11, 12])
async def test_a_fifth_of_all_attempts_fails(tmp_path: Path, seed: int) -> None:
    """Streams and whole answers: nearly all succeed, the others say truly how far they came."""
    chance = random.Random(seed)
    async with stack(*script(tmp_path, seed, 20), **SETTINGS) as one:

        async def ask(number: int) -> Judgement:
            text = told(number, chance.randrange(1, 120))
            request = pb.ExecuteRequest(prompt=saying(text))
            if number % 5 == 0:
                request.on_disconnect.CopyFrom(KEEP)
            if number % 7 == 0:
                request.generation_config.CopyFrom(GenerationConfig(temperature=0))
            return await (whole if number % 3 == 0 else streamed)(one.stub, request, text)

        tally = await crowd(ask, range(300), at_once=50)
        calls = await one.generated()
    assert tally.count(RIGHT) >= 275
    assert tally.count(REFUSED) <= 10
    assert tally.count(BROKEN_OFF) >= 1
    assert 0 == tally.reasons[OPEN]
    assert 310 < calls < 430


@pytest.mark.parametrize("seed", [21])
async def test_shared_executions_among_faults(tmp_path: Path, seed: int) -> None:
    """Callers of one answer get the same text or the same failure, though some of them leave."""
    chance = random.Random(seed)
    async with stack(*script(tmp_path, seed, 20), **SETTINGS, COALESCE__MODE="all") as one:

        async def ask(number: int) -> Judgement:
            text = told(number // 5)
            request = pb.ExecuteRequest(prompt=saying(text))
            if chance.random() < 0.3:
                return await left_early(one, request, text, chance.randrange(0, 4))
            return await streamed(one.stub, request, text)

        tally = await crowd(ask, range(300), at_once=50)
        assert tally.count(RIGHT, BROKEN_OFF, REFUSED) == len(tally.judged)
        assert tally.count(RIGHT) >= 250
        # at most five callers ask for the same; each answer costs hardly more than one run
        calls = await one.generated()
        assert calls < 120
        await nothing_is_left_open(one)


@pytest.mark.parametrize("seed", [31])
async def test_callers_who_leave_at_random(tmp_path: Path, seed: int) -> None:
    """Whoever leaves, at whatever point, leaves nothing behind and disturbs nobody."""
    chance = random.Random(seed)
    async with stack(*script(tmp_path, seed, 20), **SETTINGS) as one:

        async def ask(number: int) -> Judgement:
            text = told(number)
            request = pb.ExecuteRequest(prompt=saying(text))
            if number % 2:
                return await streamed(one.stub, request, text)
            if number % 4:
                return await left_early(one, request, text, chance.randrange(0, 6))
            return await cancelled_after(one, request, text, chance.uniform(0, 0.3))

        tally = await crowd(ask, range(300), at_once=50)
        assert tally.count(RIGHT) >= 275
        await nothing_is_left_open(one)


async def left_early(one: Stack, request: Any, text: str, seen: int) -> Judgement:
    """Read so many events and leave; what was read has to be a beginning of the answer."""
    stream = one.stub.Execute(request, timeout=PATIENCE)
    events: list[Any] = []
    try:
        while len(events) < seen and (event := await stream.read()) is not grpc.aio.EOF:
            events.append(event)
    except grpc.aio.AioRpcError as failed:
        return judge(events, failed, text)
    finally:
        stream.cancel()
    return judge_beginning(events, text)


async def cancelled_after(one: Stack, request: Any, text: str, seconds: float) -> Judgement:
    """Leave after so many seconds, whatever has come."""
    reading = asyncio.ensure_future(streamed(one.stub, request, text))
    done, _ = await asyncio.wait({reading}, timeout=seconds)
    if done:
        return reading.result()
    reading.cancel()
    await asyncio.wait({reading})
    return Judgement(RIGHT)


async def nothing_is_left_open(one: Stack) -> None:
    """Wait until neither the upstream nor the server has anything under way."""
    await until(lambda: stats_of(one.simulator), lambda now: now["streams_open"] == 0)
    async with grpc.aio.insecure_channel(one.server.grpc) as channel:
        asked: Any = metrics_rpc.MetricsServiceStub(channel)
        wanted = metrics_pb.GetMonitoringMetricsRequest()

        async def look() -> Any:
            return (await asked.GetMonitoringMetrics(wanted)).metrics

        await until(look, lambda now: (now.open_streams, now.upstream.in_use) == (0, 0))


@pytest.mark.parametrize("seed", [41, 42])
async def test_connections_lost_at_random(tmp_path: Path, seed: int) -> None:
    """Resumed wherever it broke, an execution is one: its text whole, or its failure true."""
    chance = random.Random(seed)
    arguments = script(tmp_path, seed, 20)
    async with (
        stack(*arguments, **SETTINGS) as one,
        wire_to(one.server.grpc) as wire,
        grpc.aio.insecure_channel(wire.address, [("grpc.enable_retries", 0)]) as channel,
    ):
        stub = rpc.ExecuteServiceStub(channel)
        cuts = asyncio.ensure_future(cut_now_and_then(wire, chance))

        async def ask(number: int) -> Judgement:
            text = told(number, 100)
            return await resumed(stub, text, saying(text))

        tally = await crowd(ask, range(100), at_once=30)
        cuts.cancel()
        calls = await one.generated()
    assert tally.count(RIGHT) >= 88
    # the answers are paid for once, not once for each connection
    assert calls < 100 * 1.5 + tally.count(REFUSED, BROKEN_OFF)


async def cut_now_and_then(wire: Wire, chance: random.Random) -> None:
    """Reset every connection at random times."""
    while True:
        await asyncio.sleep(chance.uniform(0.05, 0.25))
        wire.cut()


async def resumed(stub: Any, text: str, prompt: str) -> Judgement:
    """Ask, and go on after the last event seen for as long as it takes."""
    events: list[Any] = []
    request = pb.ExecuteRequest(prompt=prompt, on_disconnect=KEEP)
    while True:
        try:
            await read_into(events, stub.Execute(request, timeout=PATIENCE))
        except grpc.aio.AioRpcError as failed:
            if "grpc-status-details-bin" in dict(failed.trailing_metadata() or ()):
                return judge(events, failed, text)
            if events:
                resume = pb.Resume(execution=events[0].execution, after_sequence=len(events))
                request = pb.ExecuteRequest(resume=resume)
            await asyncio.sleep(0.02)
        else:
            return judge(events, None, text)
