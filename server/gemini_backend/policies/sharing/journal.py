"""Every stream's events are kept for a while, so that a lost one goes on where it broke off.

Stands outside the numbering, so that what is kept is what the caller saw. A server cannot tell a
caller who cancels from a connection that is lost: `on_disconnect` is how the caller chooses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.durations import seconds_of
from gemini_backend.errors import InvalidRequest, ServiceError, UnknownResource, Violation
from gemini_backend.policies.base import ReadyStream, opened
from gemini_backend.policies.executions import UNLISTED
from gemini_backend.policies.sharing.disconnect_policy import LastingRun
from gemini_backend.policies.sharing.journal_store import JournalStore
from gemini_backend.policies.sharing.replay_buffer import ReplayBuffer
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import SILENT, ExecutionDetached, StreamResumed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import JournalOptions
    from gemini_backend.policies.base import Stream, Unary
    from gemini_backend.policies.executions import RunsApart
    from gemini_backend.policies.sharing.journal_store import Record
    from gemini_backend.policies.sharing.replay_buffer import Reader
    from gemini_backend.telemetry.events import Publisher

_CANCEL = pb.DISCONNECT_MODE_CANCEL
_LEFT = (
    "was cancelled when its caller disconnected; start it with on_disconnect KEEP to be able to "
    "resume it"
)
_UNUSED = "was cancelled because it was not resumed within its grace period; send the request again"
_NOTHING = (
    "ended before its first event, so there is nothing to resume; GetExecution has the reason"
)


class Journal:
    """Keeps, resumes, and lets executions outlive their connection where the request says so."""

    def __init__(
        self,
        options: Callable[[], JournalOptions],
        clock: Clock,
        bus: Publisher = SILENT,
        executions: RunsApart = UNLISTED,
    ) -> None:
        """Read the options anew for each call; report to `executions` what outlives its call."""
        self._executions = executions
        self._options = options
        self._clock = clock
        self._bus = bus
        self.store = JournalStore(options, clock)
        self._lasting: dict[ReplayBuffer, LastingRun] = {}

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer; with KEEP or DRAIN the run goes on without its caller, for the cache's sake.

        Raises:
            InvalidRequest: there is nothing to resume in a whole answer.
        """
        if request.HasField("resume"):
            violation = Violation("resume", "is only supported by Execute", "resume.stream")
            raise InvalidRequest("resume: is only supported by Execute", violations=[violation])
        if request.on_disconnect.mode <= _CANCEL:
            return await proceed(call, request)

        async def once(own: Call, asked: Any) -> AsyncIterator[Any]:
            yield await proceed(own, asked)

        buffer = ReplayBuffer(self._options().max_execution_mb * MIB, paced=True)
        lasting = self._begin(call, request, once, buffer)
        reader = buffer.join(call, self._clock)
        try:
            return await reader.read()
        finally:
            self._left(reader, lasting)

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Hand events on and keep them; or go on with those of an earlier execution.

        Raises:
            UnknownResource: what is to be resumed is not there, or is somebody else's.
            InvalidRequest: `resume.after_sequence` is beyond what has been sent.
            ServiceError: the execution failed; who resumes it is told the same.
        """
        if request.HasField("resume"):
            return self._resume(call, request.resume)
        if request.on_disconnect.mode <= _CANCEL:
            events = proceed(call, request)
            if type(events) is ReadyStream:
                return self._record_whole(call, events)
            return self._record(call, events)
        return self._run_apart(call, request, proceed)

    async def aclose(self) -> None:
        """Cancel every run that has outlived its caller, and forget everything."""
        await asyncio.gather(*(one.run.cancel() for one in tuple(self._lasting.values())))
        self.store.clear()

    def _record_whole(self, call: Call, events: ReadyStream[Any]) -> ReadyStream[Any]:
        """Keep what is there at once: whoever loses its connection meanwhile may resume it."""
        self.store.keep(call, events.events)
        return events

    async def _record(self, call: Call, inner: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Hand on and keep, in the caller's own task."""
        record = self.store.open(call)
        buffer = record.buffer
        try:
            async with opened(inner) as events:
                async for event in events:
                    if record.recording:
                        buffer.append(event)
                        if event.HasField("completed"):
                            self._settle(record, None)
                    yield event
            self._settle(record, None)
        except ServiceError as error:
            self._settle(record, error)
            raise
        finally:
            if not buffer.ended:
                self.store.drop(record, _LEFT)
                buffer.end(UnknownResource(f"execution {call.execution!r} {_LEFT}"))

    def _settle(self, record: Record, error: ServiceError | None) -> None:
        if not record.buffer.ended:
            self._put_away(record, error)
            record.buffer.end(error)

    def _put_away(self, record: Record, error: BaseException | None) -> None:
        """Keep what has ended; but refusals, of which there may be many, take nobody's room."""
        if error is not None and not record.buffer.length:
            self.store.drop(record, _NOTHING)
        else:
            self.store.settle(record)

    async def _run_apart(
        self, call: Call, request: Any, proceed: Stream[Any, Any]
    ) -> AsyncIterator[Any]:
        """Hand on and keep, the run in a task of its own."""
        record = self.store.open(call, paced=True)
        lasting = self._begin(call, request, proceed, record.buffer, record)
        reader = record.buffer.join(call, self._clock)
        async with opened(self._read(reader, lasting)) as events:
            async for event in events:
                yield event

    async def _resume(self, call: Call, asked: pb.Resume) -> AsyncIterator[Any]:
        record = self.store.find(asked.execution, call.principal, asked.after_sequence)
        buffer = record.buffer
        if asked.after_sequence > buffer.length:
            said = f"is {asked.after_sequence}, and {buffer.length} events have been sent so far"
            violation = Violation("resume.after_sequence", said, "resume.after_sequence")
            raise InvalidRequest(f"resume.after_sequence: {said}", violations=[violation])
        call.outcome.pays = False
        self._bus.publish(StreamResumed(call.execution, asked.execution))
        lasting = self._lasting.get(buffer)
        reader = buffer.join(call, self._clock, asked.after_sequence)
        if lasting is not None:
            lasting.taken_up()
        async with opened(self._read(reader, lasting)) as events:
            async for event in events:
                yield event

    async def _read(self, reader: Reader, lasting: LastingRun | None) -> AsyncIterator[Any]:
        try:
            while (event := await reader.read()) is not None:
                yield event
        finally:
            self._left(reader, lasting)

    def _left(self, reader: Reader, lasting: LastingRun | None) -> None:
        reader.close()
        if lasting is not None and lasting.left():
            self._bus.publish(ExecutionDetached(lasting.call.execution))

    def _begin(
        self,
        call: Call,
        request: Any,
        proceed: Stream[Any, Any],
        buffer: ReplayBuffer,
        record: Record | None = None,
    ) -> LastingRun:
        """Start a run that outlives its caller."""
        asked = request.on_disconnect
        options = self._options()
        grace = options.grace_seconds
        if asked.HasField("grace_period"):
            grace = seconds_of(asked.grace_period)
        lasting = LastingRun(
            call,
            buffer,
            asked,
            min(grace, options.max_grace_seconds),
            clock=self._clock,
            ended=lambda one, error: self._ended(one, error, record),
            wanted=lambda: record is None or record.recording,
        )
        self._lasting[buffer] = lasting
        self._executions.runs_apart(call, lasting.stop)
        lasting.run.start(lambda: proceed(lasting.call, request))
        return lasting

    def _ended(
        self, lasting: LastingRun, error: BaseException | None, record: Record | None
    ) -> None:
        self._lasting.pop(lasting.buffer, None)
        self._executions.ended(lasting.call, error)
        if record is None:
            return
        if lasting.expired and error is not None:
            self.store.drop(record, _UNUSED)
        else:
            self._put_away(record, error)

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        return f"Journal(keep={options.keep_seconds:g} s, grace={options.grace_seconds:g} s)"
