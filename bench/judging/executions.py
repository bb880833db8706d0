"""Makes many executions whose answers are known beforehand, and judges each."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc

from bench.judging.verdicts import Verdict, judge, judge_whole
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bench.judging.verdicts import Judgement

    Ask = Callable[[Any, int, "Seen"], Awaitable[None]]

CHANNELS = 4
PATIENCE = 120.0


@dataclass
class Seen:
    """What became of the executions through one server; times are seconds."""

    judgements: list[Judgement] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    upstream_calls: int = 0
    seconds: float = 0.0

    def count(self, *verdicts: Verdict) -> int:
        """Returns how many executions had one of these verdicts."""
        return sum(one.verdict in verdicts for one in self.judgements)


async def ask_all(
    server: str,
    simulator: str,
    ask: Ask,
    executions: int,
    concurrency: int,
    *,
    channel_options: Sequence[tuple[str, Any]] = (),
) -> Seen:
    """Makes so many different executions, so many at a time.

    Args:
        server: HOST:PORT of its gRPC side.
        simulator: HOST:PORT; it is asked how many calls have reached it.
        ask: makes one of them: `as_stream` or `as_whole`.
        executions: how many in all.
        concurrency: how many at a time.
        channel_options: Options of gRPC's, for every client.
    """
    numbers = iter(range(executions))
    seen = Seen()
    channels = _channels(server, channel_options)
    stubs = [rpc.ExecuteServiceStub(channel) for channel in channels]

    async def work(worker: int) -> None:
        for number in numbers:
            await ask(stubs[worker % CHANNELS], number, seen)

    began = time.perf_counter()
    await asyncio.gather(*(work(worker) for worker in range(concurrency)))
    seen.seconds = time.perf_counter() - began
    await asyncio.gather(*(channel.close() for channel in channels))
    url = f"http://{simulator}/_simulator/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        counts = (await answer.json())["by_method"]
    methods = ("streamGenerateContent", "generateContent")
    seen.upstream_calls = sum(counts.get(method, 0) for method in methods)
    return seen


async def ask_at_rate(server: str, per_second: float, seconds: float) -> Seen:
    """Makes executions at a steady rate, whatever becomes of them; every third as a whole."""
    seen = Seen()
    channels = _channels(server)
    stubs = [rpc.ExecuteServiceStub(channel) for channel in channels]
    began, tasks = time.perf_counter(), []
    for number in range(round(per_second * seconds)):
        ask = as_whole if number % 3 == 0 else as_stream
        tasks.append(asyncio.create_task(ask(stubs[number % CHANNELS], number, seen)))
        await asyncio.sleep(max(0.0, began + (number + 1) / per_second - time.perf_counter()))
    await asyncio.gather(*tasks)
    seen.seconds = time.perf_counter() - began
    await asyncio.gather(*(channel.close() for channel in channels))
    return seen


def _channels(server: str, options: Sequence[tuple[str, Any]] = ()) -> list[grpc.aio.Channel]:
    every = [("grpc.use_local_subchannel_pool", 1), *options]
    return [grpc.aio.insecure_channel(server, every) for _ in range(CHANNELS)]


async def as_stream(stub: Any, number: int, seen: Seen) -> None:
    """Makes one execution as a stream and judges it."""
    expected = _expected(number)
    events: list[Any] = []
    failed, first = None, None
    began = time.perf_counter()
    stream = stub.Execute(pb.ExecuteRequest(prompt=f"[[say: {expected}]]"), timeout=PATIENCE)
    try:
        async for event in stream:
            events.append(event)
            if first is None and event.HasField("delta"):
                first = time.perf_counter() - began
    except grpc.aio.AioRpcError as error:
        failed = error
    judged = judge(events, failed, expected)
    seen.judgements.append(judged)
    if judged.verdict is Verdict.RIGHT:
        seen.first.append(first or 0.0)
        seen.whole.append(time.perf_counter() - began)


async def as_whole(stub: Any, number: int, seen: Seen) -> None:
    """Makes one execution as a whole answer and judges it."""
    expected = _expected(number)
    answer, failed = None, None
    began = time.perf_counter()
    try:
        request = pb.ProcessRequest(prompt=f"[[say: {expected}]]")
        answer = await stub.Process(request, timeout=PATIENCE)
    except grpc.aio.AioRpcError as error:
        failed = error
    judged = judge_whole(answer, failed, expected)
    seen.judgements.append(judged)
    if judged.verdict is Verdict.RIGHT:
        seen.whole.append(time.perf_counter() - began)


def _expected(number: int) -> str:
    return f"Answer {number}: " + " ".join(f"{word}-{number}" for word in range(20))
