"""Both ends of a request, whichever door it came by: known while it runs, and published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.requests.work import kind_of
from gemini_backend.policies.attempts import deadline_passed
from gemini_backend.telemetry.events import RpcFinished, RpcStarted

if TYPE_CHECKING:
    from typing import Any

    from gemini_backend.api.requests.in_flight import Running
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.executions import ExecutionRegister
    from gemini_backend.telemetry.events import Publisher


_EXECUTE = pb.EXECUTION_KIND_EXECUTE


class Reception:
    """What every door does with a call when it begins and when it has ended."""

    def __init__(
        self, running: Running, executions: ExecutionRegister, clock: Clock, bus: Publisher
    ) -> None:
        """Keep both registers up to date, and publish the start and the end of each call."""
        self._running = running
        self._executions = executions
        self._clock = clock
        self._bus = bus

    def arrived(self, call: Call) -> None:
        """Take note of a call that begins in the current task."""
        self._running.enter(call)
        self._bus.publish(RpcStarted(call.execution, call.method))

    def admitted(self, call: Call) -> None:
        """Take note of who makes a call that has arrived in the current task."""
        self._running.enter(call)

    def begin(self, call: Call, request: Any) -> str:
        """Take note of what a call asks for, once its request has been read.

        Returns:
            The name of the execution that it starts or takes up, which its caller is to be told
            before anything waits; empty for none.
        """
        kind = kind_of(call.method)
        if kind is None:
            return ""
        if kind == _EXECUTE and _resumes(request):
            name: str = request.resume.execution
            return name if self._executions.owns(call.principal, name) else ""
        known = self._running.tasks.get(call.execution)
        self._executions.begin(call, request, kind, None if known is None else known[1])
        return call.execution

    def failing(self, call: Call, error: ServiceError) -> None:
        """Take note of why a call fails, before its caller is told."""
        self._executions.call_ended(call, error)

    def running_now(self) -> int:
        """Return how many calls have begun and not ended."""
        return len(self._running.tasks)

    def running_of_peer(self, call: Call) -> int:
        """Return how many calls run that come from where a call comes from."""
        return self._running.of_same_peer(call)

    def end(self, call: Call, code: str, reason: str) -> None:
        """Take note of a call that ended with a status code, and a reason where it failed."""
        self._running.leave(call)
        outcome = call.outcome
        late = code == "DEADLINE_EXCEEDED" and outcome.error is None
        self._executions.call_ended(call, deadline_passed(call) if late else outcome.error)
        first, arrived, principal = outcome.first_token, call.arrived, call.principal
        self._bus.publish(
            RpcFinished(  # by place: this is done for each call
                call.execution,
                call.method,
                principal.tenant,
                principal.name,
                code,
                reason,
                self._clock.now() - arrived,
                outcome.model,
                outcome.served_model,
                None if first is None else first - arrived,
                outcome.usage,
                len(outcome.attempts),
                call.request_id,
            )
        )


def _resumes(request: Any) -> bool:
    """Return whether a request takes up an execution that there is already."""
    return type(request) is pb.ExecuteRequest and request.HasField("resume")
