"""The new turn of a session becomes a whole conversation; the answer is kept when it ends well.

Stands inside of the journal and the numbering, so that a run which outlives its caller is kept as
well, and outside of all that answers, so that what is cached, shared and tried again is the whole
conversation. A turn is in the store before its last event is handed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from gemini_backend.errors import EmptyAnswer, StreamCut
from gemini_backend.policies.conversations.conversation import read_conversation, sized
from gemini_backend.policies.conversations.repetition import (
    Answering,
    StoredAnswer,
    sliced_turn_digest,
)
from gemini_backend.policies.conversations.summary import Summary, summary_of
from gemini_backend.policies.conversations.turn import Turn, refuse_halves
from gemini_backend.policies.conversations.turn_lock import TurnLock
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.relay import Relay, watched
from gemini_backend.policies.watch import Watch
from gemini_backend.policies.wrapper import Wrapper
from gemini_backend.processing.answers.delta_buffer import DeltaBuffer
from gemini_backend.processing.answers.endings import end_was_seen
from gemini_backend.stores.sessions import SessionKey
from gemini_backend.telemetry.events import SessionTurnEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gemini.backend.v1.execute_service_pb2 import Completed, Delta
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.conversations.fit_context import FitContext
    from gemini_backend.policies.conversations.turn import AskForSummary
    from gemini_backend.policies.conversations.turn_lock import HeldTurn
    from gemini_backend.policies.relay import Hook
    from gemini_backend.policies.wrapper import Opens, Whole
    from gemini_backend.stores.session_service import SessionContext


class Session(Wrapper):
    """Loads, runs, keeps: one read and one write of the store for each turn.

    Where older turns are summed up, that is an execution of its own, and one write more. A turn
    whose execution fails, or whose caller leaves, changes nothing. A request that is repeated with
    its id waits for the first, and is given the answer that was kept.
    """

    def __init__(
        self, context: SessionContext, overflow: FitContext, progress: Hook, clock: Clock
    ) -> None:
        """Keep conversations.

        Args:
            context: Where, and by which options.
            overflow: Keeps conversations within what models take.
            progress: Stands round the executions that sum up, so that they are counted.
            clock: Times the wait for a session's turn, and long work.
        """
        self._context = context
        self._overflow = overflow
        self._progress = progress
        self._clock = clock
        self._lines = TurnLock(lambda: context.options().max_waiting, clock)

    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer the whole conversation, and keep the turn.

        Raises:
            UnknownResource: there is no such session, or it is somebody else's.
            Conflict: another execution runs on it, or has changed it meanwhile.
            ServiceError: the session is full, the conversation too long, the store unavailable.
        """
        return self._whole(call, request, proceed) if request.session else proceed(call, request)

    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Answer the whole conversation, and keep the turn before the last event is handed on.

        Raises:
            UnknownResource: there is no such session, or it is somebody else's.
            Conflict: another execution runs on it, or has changed it meanwhile.
            StreamCut: it is not certain that the answer is whole.
            ServiceError: the session is full, the conversation too long, the store unavailable.
        """
        return self._stream(call, request, proceed) if request.session else proceed(call, request)

    async def _whole(self, call: Call, request: Any, proceed: Whole) -> Any:
        async def sum_up(own: Call, asked: Any) -> Summary:
            answer = await Relay([self._progress], proceed).unary(own, asked)
            cost = answer.cost if answer.HasField("cost") else None
            return Summary(summary_of(answer.candidates), answer.usage, cost)

        work = await self._begin(call, request, sum_up)
        if isinstance(work, StoredAnswer):
            return work.whole(call)
        try:
            response = await proceed(sized(call, work.whole), work.whole)
            work.begun(response.started)
            work.grow(response.ByteSize())
            await work.keep(response.candidates, response)
        finally:
            work.end()
        return response

    async def _stream(self, call: Call, request: Any, proceed: Opens) -> EventStream:
        async def sum_up(own: Call, asked: Any) -> Summary:
            return await _summary_of(await Relay([self._progress], proceed).stream(own, asked))

        work = await self._begin(call, request, sum_up)
        if isinstance(work, StoredAnswer):
            return EventStream(work.events(call))
        try:
            events = await proceed(sized(call, work.whole), work.whole)
        except BaseException:
            work.end()
            raise
        waiting = watched(events, [_Answered(work)])
        if waiting is not None:
            await waiting
        return events

    async def _begin(self, call: Call, request: Any, ask: AskForSummary) -> Turn | StoredAnswer:
        """Wait for the session's turn, read it, make it fit; a turn that fails here is refused.

        A request that was answered before gets that answer.
        """
        key = SessionKey(call.principal.owner, request.session.removeprefix("sessions/"))
        place: HeldTurn | None = None
        try:
            refuse_halves(request)
            place = await self._lines.take(key, call, request.request_id)
            if request.request_id:
                call.outcome.awaited = place.is_awaited
            work = await self._read(call, request, place)
            if isinstance(work, Turn):
                await work.fit(self._overflow, ask)
        except BaseException:
            if place is not None:
                place.give_back()
            self._ended(call, request, "refused")
            raise
        return work

    async def _read(self, call: Call, request: Any, place: HeldTurn) -> Turn | StoredAnswer:
        context = self._context
        conversation = await read_conversation(
            context, call, request.session, request.request_id, to_write=True
        )
        place.settle(conversation.session.concurrency, context.options().concurrency)
        digest = b""
        if request.request_id:
            digest = await sliced_turn_digest(call, request, self._clock)
        if conversation.answered is None:
            return Turn(call, Answering(request, digest), conversation, place, context)
        answer = StoredAnswer(conversation.answered, request, digest)
        call.outcome.queued_seconds += place.waited
        place.give_back()
        self._ended(call, request, "repeated")
        return answer

    def _ended(self, call: Call, request: Any, outcome: Literal["refused", "repeated"]) -> None:
        tenant = call.principal.tenant
        self._context.bus.publish(
            SessionTurnEnded(call.execution, tenant, request.session, outcome)
        )

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._context.options()
        return f"Session(concurrency={options.concurrency}, overflow={options.overflow})"


class _Answered(Watch):
    """Collects what is answered, and keeps the turn before its last event is handed on."""

    __slots__ = ("_pieces", "_work")

    def __init__(self, work: Turn) -> None:
        self._work = work
        self._pieces = DeltaBuffer()

    def event(self, event: Any, delta: Delta | None, /) -> Awaitable[None] | None:
        if delta is not None:
            self._work.grow(self._pieces.take(delta))
            return None
        kind = event.WhichOneof("event")
        if kind == "started":
            self._work.begun(event.started)
        elif kind == "completed":
            _check_end(event.completed)
            pieces = self._pieces
            return self._work.keep(pieces.candidates(), event.completed, pieces.beside)
        return None

    def end(self, _error: BaseException | None, /) -> None:
        self._work.end()


def _check_end(completed: Completed) -> None:
    """Refuse an answer of which more may have been to come: all that follows would rest on it.

    Raises:
        StreamCut: it is one.
    """
    if not end_was_seen(completed):
        msg = "the answer's stream broke off, so the answer was not added to the session; retry"
        raise StreamCut(msg)


async def _summary_of(events: EventStream) -> Summary:
    pieces = DeltaBuffer()
    try:
        while (event := await events.next()) is not None:
            if event.HasField("delta"):
                pieces.take(event.delta)
            elif event.HasField("completed"):
                ended = event.completed
                _check_end(ended)
                cost = ended.cost if ended.HasField("cost") else None
                return Summary(summary_of(pieces.candidates()), ended.usage, cost)
    finally:
        await events.aclose()
    raise EmptyAnswer("the model's summary was not completed; retry")
