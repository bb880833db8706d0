"""An execution's own story: events are numbered, timed, and a failure says how far it came.

Its start and its end are published.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import UsageQuality
from gemini_backend.call import reason_of_cancel
from gemini_backend.durations import duration_of, put_seconds
from gemini_backend.errors import ServiceError
from gemini_backend.policies.base import ReadyStream, opened
from gemini_backend.policies.outcome.event_pieces import DEFAULT_MAX_BYTES, FRAME_BYTES, in_pieces
from gemini_backend.policies.outcome.usage_sums import used_so_far
from gemini_backend.telemetry.events import CANCELLED, OK, ExecutionFinished, ExecutionStarted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import AttemptRecord, Call, Outcome
    from gemini_backend.clock import Clock
    from gemini_backend.policies.base import Stream, Unary
    from gemini_backend.telemetry.events import Publisher

# From here on a wait for quota is worth a warning.
_LATE_SECONDS = 1.0


class ExecutionEvents:
    """Numbers the events, fills in times and attempts, and publishes start and end.

    Events that are larger than the caller takes are cut first, so that each piece has a number.
    """

    def __init__(
        self,
        clock: Clock,
        bus: Publisher,
        max_event_bytes: Callable[[], int] = lambda: DEFAULT_MAX_BYTES,
    ) -> None:
        """Read times off `clock`.

        Args:
            clock: Times the events.
            bus: Where start and end are published.
            max_event_bytes: Gives the size of an event for requests that name none.
        """
        self._clock = clock
        self._bus = bus
        self._max_event_bytes = max_event_bytes

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer with times and attempts; a failure carries an `ExecutionFailure`."""
        story = self._begin(call)
        try:
            response = await proceed(call, request)
            response.execution = call.execution
            _warn_of_waits(call, response.started)
            story.model, story.usage = response.started.model_version, response.usage
            self._put_times(call, response)
            call.outcome.cache_status = response.started.cache_status
            call.outcome.end = response
            story.code = OK
        except ServiceError as error:
            story.failed(call, error, self._clock.now())
            raise
        except asyncio.CancelledError:
            story.interrupted(call, self._clock.now())
            raise
        except Exception:
            story.unexpected()
            raise
        finally:
            story.end()
        return response

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Hand events on with their numbers; a failure says which one was the last."""
        story = self._begin(call)
        try:
            events = proceed(call, request)
        except ServiceError as error:
            story.failed(call, error, self._clock.now())
            story.end()
            raise
        except Exception:
            story.unexpected()
            story.end()
            raise
        most = request.max_event_bytes or self._max_event_bytes()
        if type(events) is not ReadyStream:
            return self._stream(call, story, events, most)
        if any(event.ByteSize() > most - FRAME_BYTES for event in events.events):
            events.events = [one for event in events.events for one in in_pieces(event, most)]
        for event in events.events:
            self._number(call, event, story)
        story.code = OK
        story.end()
        return events

    async def _stream(
        self, call: Call, story: _Story, inner: AsyncIterator[Any], most: int
    ) -> AsyncIterator[Any]:
        try:
            async with opened(inner) as events:
                async for event in events:
                    if event.ByteSize() > most - FRAME_BYTES:
                        for piece in in_pieces(event, most):
                            self._number(call, piece, story)
                            yield piece
                        continue
                    self._number(call, event, story)
                    yield event
            story.code = OK
        except ServiceError as error:
            story.failed(call, error, self._clock.now())
            raise
        except asyncio.CancelledError:
            story.interrupted(call, self._clock.now())
            raise
        except Exception:
            story.unexpected()
            raise
        finally:
            story.end()

    def _begin(self, call: Call) -> _Story:
        principal = call.principal
        self._bus.publish(
            ExecutionStarted(
                call.execution, call.method, call.work, principal.tenant, principal.name
            )
        )
        return _Story(lambda story: self._finish(call, story))

    def _number(self, call: Call, event: Any, story: _Story) -> None:
        outcome = call.outcome
        outcome.sequence += 1
        kind = event.WhichOneof("event")
        if kind == "delta":
            story.deltas += 1
            story.last = event
            if outcome.first_token is None:
                outcome.first_token = self._clock.now()
        elif kind == "completed":
            self._complete(call, event.completed, story)
        else:
            if kind == "started":
                _warn_of_waits(call, event.started)
            story.take(event, outcome)
        event.execution = call.execution
        event.sequence = outcome.sequence

    def _complete(self, call: Call, completed: pb.Completed, story: _Story) -> None:
        self._put_times(call, completed)
        story.usage = completed.usage
        call.outcome.end = completed
        story.model = completed.model_version or story.model

    def _put_times(self, call: Call, answer: pb.ProcessResponse | pb.Completed) -> None:
        now, timing = self._clock.now(), answer.timing
        timing.Clear()
        put_seconds(timing.queued, call.outcome.queued_seconds)
        if call.outcome.first_token is not None:
            put_seconds(timing.first_token, call.outcome.first_token - call.arrived)
        put_seconds(timing.total, now - call.arrived)
        if call.outcome.attempts:
            answer.attempts.extend(attempt_messages(call.outcome.attempts, now))

    def _finish(self, call: Call, story: _Story) -> None:
        call.outcome.served_model, call.outcome.usage = story.model, story.seen_usage(call)
        first = call.outcome.first_token
        self._bus.publish(
            ExecutionFinished(
                call.execution,
                call.method,
                call.work,
                call.principal.tenant,
                call.principal.name,
                call.outcome.model,
                story.model,
                code=story.code,
                reason=story.reason,
                seconds=self._clock.now() - call.arrived,
                first_token_seconds=None if first is None else first - call.arrived,
                queued_seconds=call.outcome.queued_seconds,
                usage=call.outcome.usage,
                cost_nano_usd=call.outcome.cost_nano_usd,
                pays=call.outcome.pays,
                attempts=len(call.outcome.attempts),
                hops=len(call.outcome.hops),
            )
        )

    def __repr__(self) -> str:
        """Name the policy."""
        return "ExecutionEvents()"


def _warn_of_waits(call: Call, started: pb.Started) -> None:
    """Tell the caller that the answer was late for want of upstream's quota."""
    outcome = call.outcome
    if outcome.quota_seconds >= _LATE_SECONDS:
        words = f"waited {outcome.quota_seconds:.1f} s for quota: {outcome.quota_reason}"
        started.warnings.add(code="WAITED_FOR_QUOTA", message=words)


class _Story:
    """How far one execution has come."""

    __slots__ = ("_finish", "code", "deltas", "last", "model", "reason", "usage")

    def __init__(self, finish: Callable[[_Story], None]) -> None:
        self._finish: Callable[[_Story], None] | None = finish
        self.deltas = 0
        self.model = ""
        self.usage: Usage | None = None
        self.last: pb.ExecuteResponse | None = None
        self.code = CANCELLED  # until it is known how it ended: a close tells nobody
        self.reason = ""

    def end(self) -> None:
        """Publish the end, once."""
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(self)

    def __del__(self) -> None:
        """Publish the end of a stream that nobody began to read: its generator never runs."""
        self.end()

    def take(self, event: pb.ExecuteResponse, outcome: Outcome) -> None:
        """Note what an event that is no delta tells."""
        if event.HasField("usage"):
            self.last = event
        else:
            self.model = outcome.served_model = event.started.model_version
            outcome.cache_status = event.started.cache_status

    def seen_usage(self, call: Call) -> Usage | None:
        """Return what was used; looked for only when it is needed, not at each delta.

        Of an execution that did not come to its end: what its last attempt knows, with the hops
        before it, else the last event; an estimate.
        """
        if self.usage is not None:
            return self.usage
        used = used_so_far(call.outcome)
        if used is not None:
            return used
        if self.last is None:
            return None
        told = self.last if self.last.HasField("usage") else self.last.delta
        if not told.HasField("usage"):
            return None
        copy = type(told.usage)()
        copy.CopyFrom(told.usage)
        copy.quality = UsageQuality.USAGE_QUALITY_ESTIMATED
        return copy

    def failed(self, call: Call, error: ServiceError, now: float) -> None:
        """Write into the error what had been delivered before it."""
        self.code, self.reason = error.code.name, error.reason
        failure = error.failure or details.ExecutionFailure()
        failure.execution = call.execution
        failure.last_sequence = call.outcome.sequence
        failure.deltas_delivered = self.deltas
        usage = self.seen_usage(call)
        if usage is not None and not failure.HasField("usage"):
            failure.usage.CopyFrom(usage)
        del failure.attempts[:]
        failure.attempts.extend(attempt_messages(call.outcome.attempts, now))
        error.failure = failure

    def unexpected(self) -> None:
        """Note a failure that is a defect of the server's."""
        self.code, self.reason = "INTERNAL", "BACKEND_UNEXPECTED"

    def interrupted(self, call: Call, now: float) -> None:
        """Raise why this server cancelled the execution; return where its caller went away.

        Raises:
            ServiceError: the reason.
        """
        reason = reason_of_cancel(call)
        if reason is not None:
            self.failed(call, reason, now)
            raise reason from None


def attempt_messages(attempts: list[AttemptRecord], now: float) -> list[details.Attempt]:
    """Return the attempts as they are told to the caller; one still running ends at `now`."""
    return [
        details.Attempt(
            number=number,
            model=attempt.model,
            outcome=_outcome(attempt),
            reason=_reason(attempt.error),
            duration=duration_of((attempt.ended or now) - attempt.started),
            key_id=attempt.key_id,
        )
        for number, attempt in enumerate(attempts, 1)
    ]


def _outcome(attempt: AttemptRecord) -> details.AttemptOutcome.ValueType:
    if attempt.cancelled:
        return details.ATTEMPT_OUTCOME_CANCELLED
    if attempt.error is not None:
        return details.ATTEMPT_OUTCOME_FAILED
    return details.ATTEMPT_OUTCOME_SUCCEEDED


def _reason(error: ServiceError | None) -> details.ErrorReason.ValueType:
    if error is None:
        return details.ERROR_REASON_UNSPECIFIED
    return details.ErrorReason.Value(f"ERROR_REASON_{error.reason}")
