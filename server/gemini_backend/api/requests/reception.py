"""Both ends of a request, whichever door it came by: known while it runs, counted, logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gemini_backend.api.requests.in_flight import Running
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.logs.access_log import AccessLog


class RpcMetrics(Protocol):
    """Where requests are counted."""

    def rpc_started(self, method: str) -> None:
        """Count one more in flight."""
        ...

    def rpc_finished(self, method: str, code: str, reason: str, seconds: float) -> None:
        """Count one less in flight, and how it ended."""
        ...


class Reception:
    """What every door does with a call when it begins and when it has ended."""

    def __init__(
        self, running: Running, metrics: RpcMetrics, access_log: AccessLog, clock: Clock
    ) -> None:
        """Report the start and the end of each call to these."""
        self._running = running
        self._metrics = metrics
        self._access_log = access_log
        self._clock = clock

    def begin(self, call: Call) -> None:
        """Take note of a call that begins in the current task."""
        self._running.enter(call)
        self._metrics.rpc_started(call.method)

    def end(self, call: Call, code: str, reason: str) -> None:
        """Take note of a call that ended with a status code, and a reason where it failed."""
        self._running.leave(call)
        seconds = self._clock.now() - call.arrived
        self._metrics.rpc_finished(call.method, code, reason, seconds)
        self._access_log.write(call, code, reason)
