"""Requests, answers and counting upstreams for what keeps and shares answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord
from tests.support.messages.calls import completed, delta, make_call, started

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from tests.support.clock import FakeClock

GOOD = (started(), delta("hel"), delta("lo"), completed())


def ask(prompt: str = "hello", **rest: Any) -> pb.ExecuteRequest:
    """Return a request that is deterministic enough for the cache."""
    config = content.GenerationConfig(temperature=0)
    rest = {"model": "models/a", "generation_config": config, **rest}
    return pb.ExecuteRequest(prompt=prompt, **rest)


def answer_of(text: str = "hello", total: int = 7) -> pb.ProcessResponse:
    """Return a whole answer."""
    turn = content.Content(role="model", parts=[content.Part(text=text)])
    candidate = content.Candidate(content=turn, finish_reason=content.FINISH_REASON_STOP)
    return pb.ProcessResponse(
        candidates=[candidate],
        usage=content.Usage(total_token_count=total),
        started=pb.Started(model="models/a", served_model="models/a"),
    )


class Upstream:
    """Plays its steps (events, seconds to wait, errors) and counts how it was used."""

    def __init__(self, clock: FakeClock, *steps: Any) -> None:
        """Play `steps` at each run."""
        self.clock = clock
        self.steps = steps
        self.runs = 0
        self.closed = 0
        self.calls: list[Call] = []
        self.requests: list[Any] = []

    async def stream(self, call: Call, request: Any) -> AsyncIterator[Any]:
        """Play the steps, each event a new message."""
        self._begin(call, request)
        try:
            async for event in self._played():
                yield event
        finally:
            self.closed += 1

    async def unary(self, call: Call, request: Any) -> Any:
        """Play the steps up to the first event, which is the answer."""
        self._begin(call, request)
        try:
            return await anext(self._played())
        finally:
            self.closed += 1

    async def _played(self) -> AsyncIterator[Any]:
        for step in self.steps:
            if isinstance(step, (int, float)):
                await self.clock.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                yield type(step).FromString(step.SerializeToString())

    def _begin(self, call: Call, request: Any) -> None:
        self.runs += 1
        self.requests.append(request)
        self.calls.append(call)
        call.outcome.attempts.append(AttemptRecord("models/a", self.clock.now()))


def text_of(events: list[Any]) -> str:
    """Return the text of a stream, or of a whole answer."""
    if len(events) == 1 and isinstance(events[0], pb.ProcessResponse):
        return "".join(part.text for part in events[0].candidates[0].content.parts)
    return "".join(part.text for event in events for part in event.delta.parts)


def caller(clock: FakeClock, name: str = "e1", deadline: float | None = None) -> Call:
    """Return a call with an execution of its own."""
    return replace(make_call(clock, deadline=deadline), execution=name)


async def ended(clock: FakeClock, task: asyncio.Task[Any], seconds: float = 60.0) -> Any:
    """Move the clock until a task is done; return what it gave."""
    for _ in range(int(seconds * 2)):
        if task.done():
            break
        await clock.advance(0.5)
    return await task
