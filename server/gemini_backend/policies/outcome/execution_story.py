"""How far one execution has come: what its events, its end and its failures tell of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1.content_pb2 import UsageQuality
from gemini_backend.call import reason_of_cancel
from gemini_backend.errors import ServiceError
from gemini_backend.policies.event_stream import delta_of
from gemini_backend.policies.outcome.attempt_report import put_attempts
from gemini_backend.policies.outcome.end_report import put_end
from gemini_backend.policies.outcome.event_pieces import FRAME_BYTES, in_pieces
from gemini_backend.policies.outcome.usage_sums import used_so_far
from gemini_backend.policies.watch import Writing
from gemini_backend.telemetry.events import CANCELLED, OK, ExecutionFinished

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini.backend.v1 import execute_service_pb2 as pb
    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Publisher

# From here on a wait for quota is worth a warning.
_LATE_SECONDS = 1.0


class ExecutionStory(Writing):
    """How far one execution has come; a failure says which event was the last."""

    __slots__ = (
        "_bus",
        "_call",
        "_clock",
        "_code",
        "_deltas",
        "_last",
        "_model",
        "_most",
        "_outcome",
        "_reason",
        "_usage",
    )

    def __init__(self, call: Call, clock: Clock, bus: Publisher, most: int) -> None:
        """Begin; events of more than `most` bytes are cut."""
        super().__init__()
        self._call = call
        self._outcome = call.outcome
        self._clock = clock
        self._bus = bus
        self._most = most - FRAME_BYTES
        self._deltas = 0
        self._model = ""
        self._usage: Usage | None = None
        self._last: pb.ExecuteResponse | None = None
        self._code = OK
        self._reason = ""

    def event(self, event: Any, delta: pb.Delta | None, /) -> Iterator[Any] | None:
        """Number an event, or the pieces that it is cut into."""
        if delta is None or not self.asked:
            if event.ByteSize() > self._most:
                return self._pieces(event)
            self._number(event, delta)
            return None
        outcome = self._outcome
        event.sequence = number = outcome.sequence + 1
        event.execution = self._call.execution
        data = event.SerializeToString()  # which is how its size is found out as well
        if len(data) > self._most:
            event.ClearField("sequence")
            event.ClearField("execution")
            return self._pieces(event)
        self.written = event, data
        outcome.sequence = number
        self._deltas += 1
        self._last = event
        if outcome.first_token is None:
            outcome.first_token = self._clock.now()
        return None

    def answer(self, response: Any, /) -> None:
        """Fill in what a whole answer tells."""
        call, outcome, started = self._call, self._outcome, response.started
        response.execution = call.execution
        if outcome.quota_seconds:
            _warn_of_waits(call, started)
        self._model, self._usage = started.model_version, response.usage
        outcome.told = put_end(response, outcome, call.arrived, self._clock.now())
        outcome.cache_status = started.cache_status
        outcome.end = response

    def end(self, error: BaseException | None, /) -> BaseException | None:
        """Publish the end; return why this server cancelled the execution, where it has."""
        told = None
        if error is not None:
            if isinstance(error, asyncio.CancelledError):
                told = reason_of_cancel(self._call)
            self._fail(told or error)
        call, outcome, usage = self._call, self._outcome, self._usage
        if usage is None:
            usage = self._seen_usage()
        outcome.served_model, outcome.usage = self._model, usage
        first, principal = outcome.first_token, call.principal
        self._bus.publish(
            ExecutionFinished(  # by place: this is done for each execution
                call.execution,
                call.method,
                call.work,
                principal.tenant,
                principal.name,
                outcome.model,
                self._model,
                self._code,
                self._reason,
                self._clock.now() - call.arrived,
                None if first is None else first - call.arrived,
                outcome.queued_seconds,
                outcome.usage,
                outcome.cost_nano_usd,
                outcome.pays,
                len(outcome.attempts),
                len(outcome.hops),
            )
        )
        return told

    def _pieces(self, event: Any) -> Iterator[Any]:
        """Yield an event in pieces that are not too large, as far as it can be cut."""
        for piece in in_pieces(event, self._most + FRAME_BYTES):
            self._number(piece, delta_of(piece))
            yield piece

    def _number(self, event: Any, delta: pb.Delta | None) -> None:
        outcome = self._outcome
        event.sequence = outcome.sequence = outcome.sequence + 1
        event.execution = self._call.execution
        if delta is not None:
            self._deltas += 1
            self._last = event
            if outcome.first_token is None:
                outcome.first_token = self._clock.now()
        else:
            self._take(event)

    def _take(self, event: pb.ExecuteResponse) -> None:
        """Note what an event tells that is no delta."""
        outcome, kind = self._outcome, event.WhichOneof("event")
        if kind == "completed":
            completed = event.completed
            outcome.told = put_end(completed, outcome, self._call.arrived, self._clock.now())
            self._usage = completed.usage
            outcome.end = completed
            self._model = completed.model_version or self._model
        elif kind == "usage":
            self._last = event
        else:
            if kind == "started":
                _warn_of_waits(self._call, event.started)
            self._model = outcome.served_model = event.started.model_version
            outcome.cache_status = event.started.cache_status

    def _seen_usage(self) -> Usage | None:
        """Return what was used; looked for only when it is needed, not at each delta.

        Of an execution that did not come to its end: what its last attempt knows, with the hops
        before it, else the last event; an estimate.
        """
        if self._usage is not None:
            return self._usage
        used = used_so_far(self._outcome)
        if used is not None:
            return used
        if self._last is None:
            return None
        told = self._last if self._last.HasField("usage") else self._last.delta
        if not told.HasField("usage"):
            return None
        copy = type(told.usage)()
        copy.CopyFrom(told.usage)
        copy.quality = UsageQuality.USAGE_QUALITY_ESTIMATED
        return copy

    def _fail(self, error: BaseException) -> None:
        """Note how it failed, and write into the error what had been delivered before it."""
        if isinstance(error, ServiceError):
            self._code, self._reason = error.code.name, error.reason
            self._put_failure(error)
        elif isinstance(error, Exception):  # a defect of the server's
            self._code, self._reason = "INTERNAL", "BACKEND_UNEXPECTED"
        else:  # its caller has left
            self._code = CANCELLED

    def _put_failure(self, error: ServiceError) -> None:
        call, outcome = self._call, self._outcome
        failure = error.failure or details.ExecutionFailure()
        failure.execution = call.execution
        failure.last_sequence = outcome.sequence
        failure.deltas_delivered = self._deltas
        usage = self._seen_usage()
        if usage is not None and not failure.HasField("usage"):
            failure.usage.CopyFrom(usage)
        del failure.attempts[:]
        put_attempts(failure.attempts, outcome.attempts, self._clock.now())
        error.failure = failure


def _warn_of_waits(call: Call, started: pb.Started) -> None:
    """Tell the caller that the answer was late for want of upstream's quota."""
    outcome = call.outcome
    if outcome.quota_seconds >= _LATE_SECONDS:
        words = f"waited {outcome.quota_seconds:.1f} s for quota: {outcome.quota_reason}"
        started.warnings.add(code="WAITED_FOR_QUOTA", message=words)
