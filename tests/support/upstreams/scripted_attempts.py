"""An upstream that plays one script an attempt, and counts."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord
from gemini_backend.errors import UpstreamUnavailable
from tests.support.clock import settle
from tests.support.messages.calls import completed, delta, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

T = TypeVar("T")
REQUEST = pb.ExecuteRequest(prompt="hello", model="models/a")
ANSWER = (started(), delta("a"), delta("b"), completed())
DOWN = (UpstreamUnavailable("overloaded"),)


class Attempts:
    """Plays the scripts in turn, the last one for ever: events, seconds to wait, errors."""

    def __init__(self, clock: FakeClock, *plays: tuple[Any, ...]) -> None:
        self._clock = clock
        self._plays = plays
        self.models: list[str] = []
        self.times: list[float] = []
        self.open = 0
        self.most_open = 0

    @property
    def count(self) -> int:
        return len(self.models)

    async def stream(self, call: Call, request: Any) -> AsyncIterator[Any]:
        play = self._plays[min(self.count, len(self._plays) - 1)]
        self.models.append(request.model)
        self.times.append(self._clock.now())
        record = AttemptRecord(model=request.model, started=self._clock.now())
        call.outcome.attempts.append(record)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            for step in play:
                if isinstance(step, (int, float)):
                    await self._clock.sleep(step)
                elif isinstance(step, BaseException):
                    raise deepcopy(step)
                else:
                    event = pb.ExecuteResponse.FromString(step.SerializeToString())
                    if event.HasField("started"):
                        event.started.model = event.started.served_model = request.model
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            record.cancelled = True
            raise
        finally:
            self.open -= 1

    async def unary(self, call: Call, request: Any) -> pb.ProcessResponse:
        response = pb.ProcessResponse()
        async for event in self.stream(call, request):
            if event.HasField("started"):
                response.started.CopyFrom(event.started)
            elif event.HasField("completed"):
                response.usage.CopyFrom(event.completed.usage)
        return response


async def finish(clock: FakeClock, work: Awaitable[T]) -> T:
    """Return what comes of the work, moving the clock to wherever it waits for."""
    task = asyncio.ensure_future(work)
    for _ in range(10_000):
        await settle()
        if task.done() or not clock._waits:
            break
        await clock.advance(max(0.0, clock._waits[0][0] - clock.now()) + 1e-9)
    if not task.done():
        task.cancel()
        raise AssertionError("it waits for something that is not time")
    return await task


def texts(events: list[Any]) -> str:
    """Return the text of all deltas."""
    return "".join(part.text for event in events for part in event.delta.parts)
