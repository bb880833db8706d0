"""Both ends of a request, whichever door it came by: known while it runs, and published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.telemetry.events import RpcFinished, RpcStarted

if TYPE_CHECKING:
    from gemini_backend.api.requests.in_flight import Running
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Publisher


class Reception:
    """What every door does with a call when it begins and when it has ended."""

    def __init__(self, running: Running, clock: Clock, bus: Publisher) -> None:
        """Keep `running` up to date, and publish the start and the end of each call."""
        self._running = running
        self._clock = clock
        self._bus = bus

    def begin(self, call: Call) -> None:
        """Take note of a call that begins in the current task."""
        self._running.enter(call)
        self._bus.publish(RpcStarted(call.execution, call.method))

    def running_now(self) -> int:
        """Return how many calls have begun and not ended."""
        return len(self._running)

    def end(self, call: Call, code: str, reason: str) -> None:
        """Take note of a call that ended with a status code, and a reason where it failed."""
        self._running.leave(call)
        outcome, first = call.outcome, call.outcome.first_token
        self._bus.publish(
            RpcFinished(
                call.execution,
                call.method,
                call.principal.tenant,
                call.principal.name,
                code,
                reason,
                self._clock.now() - call.arrived,
                model=outcome.model,
                served_model=outcome.served_model,
                first_token_seconds=None if first is None else first - call.arrived,
                usage=outcome.usage,
                attempts=len(outcome.attempts),
                request_id=call.request_id,
            )
        )
