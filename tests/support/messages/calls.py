"""Calls and upstream events made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import Call, FixedBudget, Work

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.clock import FakeClock

EXECUTE = "/gemini.backend.v1.ExecuteService/Execute"
CALL = Call("/test", "executions/test", 0.0, work=Work.CALL)
PROCESS = "/gemini.backend.v1.ExecuteService/Process"


def make_call(clock: FakeClock, *, deadline: float | None = None) -> Call:
    """Return a call that arrives now, with `deadline` seconds left."""
    now = clock.now()
    return Call(
        method=EXECUTE,
        execution="e1",
        arrived=now,
        budget=FixedBudget(None if deadline is None else now + deadline),
    )


def started(model: str = "gemini-test-001") -> pb.ExecuteResponse:
    """Return a first event."""
    return pb.ExecuteResponse(started=pb.Started(model_version=model))


def delta(text: str, total: int | None = None) -> pb.ExecuteResponse:
    """Return a piece of an answer, with the tokens so far."""
    usage = None if total is None else content.Usage(total_token_count=total)
    return pb.ExecuteResponse(delta=pb.Delta(parts=[content.Part(text=text)], usage=usage))


def completed(total: int = 7) -> pb.ExecuteResponse:
    """Return a last event."""
    usage = content.Usage(total_token_count=total)
    return pb.ExecuteResponse(
        completed=pb.Completed(finish_reason=content.FINISH_REASON_STOP, usage=usage)
    )


def script(clock: FakeClock, *steps: Any) -> Callable[[Call, Any], AsyncIterator[Any]]:
    """Return a handler that yields events, waits seconds (numbers), raises errors."""

    async def handler(_call: Call, _request: Any) -> AsyncIterator[Any]:
        for step in steps:
            if isinstance(step, (int, float)):
                await clock.sleep(step)
            elif isinstance(step, BaseException):
                raise step
            else:
                yield pb.ExecuteResponse.FromString(step.SerializeToString())

    return handler
