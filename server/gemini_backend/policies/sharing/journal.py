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
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.executions import UNLISTED
from gemini_backend.policies.opening import begun
from gemini_backend.policies.sharing.disconnect_policy import LastingRun
from gemini_backend.policies.sharing.journal_store import JournalStore
from gemini_backend.policies.sharing.recording import Recording
from gemini_backend.policies.sharing.replay_buffer import ReplayBuffer
from gemini_backend.policies.wrapper import Wrapper
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import SILENT, ExecutionDetached, StreamResumed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import JournalOptions
    from gemini_backend.memory import MemoryBudget
    from gemini_backend.policies.executions import RunsApart
    from gemini_backend.policies.sharing.journal_store import Record
    from gemini_backend.policies.sharing.reader import Reader
    from gemini_backend.policies.wrapper import Opens, Whole
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


class Journal(Wrapper):
    """Keeps, resumes, and lets executions outlive their connection where the request says so.

    Attributes:
        hands_on_bytes: Whether events go on as bytes, each made once. No layer may stand further
            out that wants to see messages, and whoever takes the stream has to take either.
    """

    def __init__(
        self,
        options: Callable[[], JournalOptions],
        clock: Clock,
        bus: Publisher = SILENT,
        executions: RunsApart = UNLISTED,
        memory: MemoryBudget | None = None,
    ) -> None:
        """Keep events.

        Args:
            options: Gives the options in force, for each call.
            clock: Times what is kept.
            bus: Where resumed and detached executions are published.
            executions: Is told of what outlives its call.
            memory: Where the bytes that are kept are counted.
        """
        self.hands_on_bytes = False
        self._executions = executions
        self._options = options
        self._clock = clock
        self._bus = bus
        self.store = JournalStore(options, clock, memory)
        self._lasting: dict[ReplayBuffer, LastingRun] = {}

    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer; with KEEP or DRAIN the run goes on without its caller, for the cache's sake.

        Raises:
            InvalidRequest: there is nothing to resume in a whole answer.
        """
        if request.HasField("resume"):
            violation = Violation("resume", "is only supported by Execute", "resume.stream")
            raise InvalidRequest("resume: is only supported by Execute", violations=[violation])
        if not request.HasField("on_disconnect") or request.on_disconnect.mode <= _CANCEL:
            return proceed(call, request)
        return self._whole_apart(call, request, proceed)

    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Open a stream whose events are kept; or go on with that of an earlier execution.

        Raises:
            UnknownResource: what is to be resumed is not there, or is somebody else's.
            InvalidRequest: `resume.after_sequence` is beyond what has been sent.
            ServiceError: the execution failed; who resumes it is told the same.
        """
        if request.HasField("resume"):
            return self._resume(call, request.resume)
        if not request.HasField("on_disconnect") or request.on_disconnect.mode <= _CANCEL:
            return self._record(call, request, proceed)
        return self._run_apart(call, request, proceed)

    async def aclose(self) -> None:
        """Cancel every run that has outlived its caller, and forget everything."""
        await asyncio.gather(*(one.cancel() for one in tuple(self._lasting.values())))
        self.store.clear()

    async def _record(self, call: Call, request: Any, proceed: Opens) -> EventStream:
        """Keep what the caller's own task reads; what is there at once is kept in one go."""
        record = self.store.open(call)
        try:
            events = await proceed(call, request)
        except BaseException as error:
            self._recorded(record, error)
            raise
        raw = self.hands_on_bytes
        if events.whole:
            whole = [event.SerializeToString() for event in events.ahead]
            record.buffer.keep_all(whole)
            self._recorded(record, None)
            return EventStream(whole) if raw else events
        inner = events.last_to_look
        events.watch(Recording(record, call.outcome.keeper, self._recorded, raw=raw, inner=inner))
        return events

    def _recorded(self, record: Record, error: BaseException | None) -> None:
        """Take note of the end of an execution whose caller's task has read it."""
        if record.settled:
            return
        record.settled = True
        if error is None or isinstance(error, ServiceError):
            self._put_away(record, error)
            record.buffer.end(error)
        else:
            self.store.drop(record, _LEFT)
            record.buffer.end(UnknownResource(f"execution {record.execution!r} {_LEFT}"))

    def _put_away(self, record: Record, error: BaseException | None) -> None:
        """Keep what has ended; but refusals, of which there may be many, take nobody's room."""
        if error is not None and not record.buffer.length:
            self.store.drop(record, _NOTHING)
        else:
            self.store.settle(record)

    async def _whole_apart(self, call: Call, request: Any, proceed: Whole) -> Any:
        most = self._options().max_execution_mb * MIB
        buffer = ReplayBuffer(most, kind=pb.ProcessResponse, paced=True)

        async def once(own: Call, asked: Any) -> EventStream:
            return EventStream([await proceed(own, asked)])

        lasting = self._begin(call, request, once, buffer)
        reader = buffer.join(call, self._clock)
        try:
            return await reader.read()
        finally:
            self._left(reader, lasting)

    async def _run_apart(self, call: Call, request: Any, proceed: Opens) -> EventStream:
        """Hand on and keep, the run in a task of its own."""
        record = self.store.open(call, paced=True)
        lasting = self._begin(call, request, proceed, record.buffer, record)
        return await self._read(call, record.buffer, lasting)

    async def _resume(self, call: Call, asked: pb.Resume) -> EventStream:
        record = self.store.find(asked.execution, call.principal, asked.after_sequence)
        buffer = record.buffer
        if asked.after_sequence > buffer.length:
            said = f"is {asked.after_sequence}, and {buffer.length} events have been sent so far"
            violation = Violation("resume.after_sequence", said, "resume.after_sequence")
            raise InvalidRequest(f"resume.after_sequence: {said}", violations=[violation])
        call.outcome.pays = False
        self._bus.publish(StreamResumed(call.execution, asked.execution))
        lasting = self._lasting.get(buffer)
        if lasting is not None:
            lasting.taken_up()
        return await self._read(call, buffer, lasting, asked.after_sequence)

    async def _read(
        self, call: Call, buffer: ReplayBuffer, lasting: LastingRun | None, after: int = 0
    ) -> EventStream:
        """Return what can be read of a run from a place on."""
        reader = buffer.join(call, self._clock, after, raw=self.hands_on_bytes)
        return await begun(_Rest(reader, lambda: self._left(reader, lasting)))

    def _left(self, reader: Reader, lasting: LastingRun | None) -> None:
        reader.close()
        if lasting is not None and lasting.left():
            self._bus.publish(ExecutionDetached(lasting.call.execution))

    def _begin(
        self,
        call: Call,
        request: Any,
        proceed: Opens,
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
        lasting.start(lambda: proceed(lasting.call, request))
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


class _Rest:
    """Events off a tape, as the source of a stream."""

    __slots__ = ("_leave", "_reader")
    resumable = True

    def __init__(self, reader: Reader, leave: Callable[[], None]) -> None:
        self._reader = reader
        self._leave: Callable[[], None] | None = leave

    def __aiter__(self) -> _Rest:
        return self

    async def __anext__(self) -> Any:
        try:
            event = await self._reader.read()
        except asyncio.CancelledError:
            raise
        except BaseException:
            await self.aclose()
            raise
        if event is None:
            await self.aclose()
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
