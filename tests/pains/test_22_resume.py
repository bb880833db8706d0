"""Row 22: a lost connection meant paying for the answer again."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.servers.breakable_wire import wire_to
from tests.support.servers.simulator_stack import Stack, stack, text_of

TEXT = " ".join(f"word{number}" for number in range(90))
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
# Places at which the connection is lost: at once, in the middle, just before the end.
PLACES = (1, 2, 5, 8)


async def test_pain_22_a_lost_connection_costs_nothing() -> None:
    """Wherever it breaks, the rest comes from the journal: no gap, nothing twice, no new call."""
    async with stack("--chunk-delay", "0.05", COALESCE__MODE="off") as one:
        await asyncio.gather(*(lost_at(one, place) for place in PLACES))
        assert len(PLACES) == await one.generated()


async def lost_at(one: Stack, place: int) -> None:
    """Lose the connection after so many events, by a wire that is cut; then go on."""
    request = pb.ExecuteRequest(prompt=f"[[say: {TEXT}]] lost {place}", on_disconnect=KEEP)
    async with wire_to(one.server.grpc) as wire:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        async with grpc.aio.insecure_channel(wire.address, options) as channel:
            stream: Any = rpc.ExecuteServiceStub(channel).Execute(request)
            events = [await stream.read() for _ in range(place)]
            wire.cut()
            with pytest.raises(grpc.aio.AioRpcError):
                while True:
                    events.append(await stream.read())
    resume = pb.Resume(execution=events[0].execution, after_sequence=events[-1].sequence)
    events += await collect(one.stub.Execute(pb.ExecuteRequest(resume=resume)))
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
    assert TEXT == text_of(events)
    assert events[-1].HasField("completed")


async def test_pain_22_lost_again_and_again() -> None:
    """A connection that breaks after every two events still brings the whole answer, once paid."""
    async with stack("--chunk-delay", "0.03", COALESCE__MODE="off") as one:
        stream = one.stub.Execute(
            pb.ExecuteRequest(prompt=f"[[say: {TEXT}]] again", on_disconnect=KEEP)
        )
        events: list[Any] = []
        while True:
            for _ in range(2):
                event = await stream.read()
                if event is grpc.aio.EOF:
                    break
                events.append(event)
            if event is grpc.aio.EOF:
                break
            stream.cancel()
            resume = pb.Resume(execution=events[0].execution, after_sequence=len(events))
            stream = one.stub.Execute(pb.ExecuteRequest(resume=resume))
        assert 1 == await one.generated()
    assert list(range(1, len(events) + 1)) == [event.sequence for event in events]
    assert TEXT == text_of(events)
