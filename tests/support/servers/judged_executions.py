"""Many executions at a time whose answers are known beforehand, each judged by all that it gave."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from bench.judging.verdicts import Verdict, judge, judge_whole
from gemini.backend.v1 import execute_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from bench.judging.verdicts import Judgement

PATIENCE = 40.0
RIGHT, REFUSED, BROKEN_OFF = Verdict.RIGHT, Verdict.REFUSED, Verdict.BROKEN_OFF


@dataclass
class Tally:
    """What became of a crowd of executions."""

    judged: list[Judgement] = field(default_factory=list)

    def count(self, *verdicts: Verdict) -> int:
        """Return how many had one of these verdicts."""
        return sum(one.verdict in verdicts for one in self.judged)

    @property
    def reasons(self) -> Counter[str]:
        """Return how often each reason was given for a failure."""
        return Counter(one.reason for one in self.judged if one.reason)

    def __str__(self) -> str:
        """Return the counts, for the test's output."""
        counts = Counter(one.verdict.name for one in self.judged)
        return f"{dict(counts)} {dict(self.reasons)}"


def told(number: int, words: int = 40) -> str:
    """Return the text of an answer like no other."""
    return f"Answer {number}: " + " ".join(f"w{place}-{number}" for place in range(words))


def saying(text: str) -> str:
    """Return the prompt to which the simulator says exactly this."""
    return f"[[say: {text}]]"


def say(text: str) -> None:
    """Tell what pytest shows when the test fails."""
    sys.stdout.write(f"{text}\n")


async def read_into(events: list[Any], stream: Any) -> None:
    """Keep all events of a stream, also those that come before it fails."""
    async for event in stream:
        events.append(event)  # noqa: PERF401 - a comprehension would lose them


async def streamed(stub: Any, request: pb.ExecuteRequest, expected: str) -> Judgement:
    """Make an execution as a stream and judge it."""
    events: list[Any] = []
    try:
        await read_into(events, stub.Execute(request, timeout=PATIENCE))
    except grpc.aio.AioRpcError as failed:
        return judge(events, failed, expected)
    return judge(events, None, expected)


async def whole(stub: Any, request: pb.ExecuteRequest, expected: str) -> Judgement:
    """Make an execution as a whole answer and judge it."""
    asked = pb.ProcessRequest.FromString(request.SerializeToString())
    try:
        answer = await stub.Process(asked, timeout=PATIENCE)
    except grpc.aio.AioRpcError as failed:
        return judge_whole(None, failed, expected)
    return judge_whole(answer, None, expected)


async def crowd(
    ask: Callable[[int], Awaitable[Judgement]], numbers: Iterable[int], at_once: int
) -> Tally:
    """Ask for each number, so many at a time; none of the executions may be wrong."""
    waiting, tally = iter(numbers), Tally()

    async def work() -> None:
        for number in waiting:
            tally.judged.append(await ask(number))

    await asyncio.gather(*(work() for _ in range(at_once)))
    say(str(tally))
    assert [] == [one for one in tally.judged if one.wrong]
    return tally
