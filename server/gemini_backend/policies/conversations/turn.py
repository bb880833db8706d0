"""One turn of a session at work, from when the session is read to when the turn is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.durations import seconds_of
from gemini_backend.errors import (
    Conflict,
    InvalidRequest,
    ServiceError,
    SessionFull,
    Violation,
)
from gemini_backend.models.names import full_name
from gemini_backend.policies.conversations.conversation import inputs_of, turn_of
from gemini_backend.policies.conversations.kept_answer import is_half
from gemini_backend.policies.conversations.summary import call_for, request_for
from gemini_backend.policies.conversations.usage_totals import spend
from gemini_backend.sizes import MIB
from gemini_backend.stores.sessions import NewTurn
from gemini_backend.telemetry.events import SessionChanged, SessionTurnEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

    from gemini.backend.v1.content_pb2 import Candidate
    from gemini_backend.call import Call
    from gemini_backend.policies.conversations.conversation import Conversation
    from gemini_backend.policies.conversations.fit_context import FitContext
    from gemini_backend.policies.conversations.repetition import Answering
    from gemini_backend.policies.conversations.summary import Summary
    from gemini_backend.policies.conversations.turn_lock import HeldTurn
    from gemini_backend.stores.session_service import SessionContext
    from gemini_backend.stores.sessions import SessionRow

    AskForSummary = Callable[[Call, pb.ExecuteRequest], Awaitable[Summary]]


class Turn:
    """One execution on one session; whoever makes it calls `end`, whichever way it ends."""

    def __init__(
        self,
        call: Call,
        answering: Answering,
        conversation: Conversation,
        place: HeldTurn,
        context: SessionContext,
    ) -> None:
        """Stand ready.

        Raises:
            SessionFull: the session may hold no more.
        """
        request = answering.request
        self.whole = request  # until it has been made to `fit`
        self._call = call
        self._request = request
        self._conversation = conversation
        self._place = place
        self._context = context
        self._outcome: Literal["kept", "abandoned", "lost"] = "abandoned"
        self._served = ""
        self._answering = answering
        self._bytes = conversation.kept.bytes + sum(one.ByteSize() for one in inputs_of(request))
        self._most_mb = context.options().max_session_mb
        most = context.options().max_turns
        if conversation.kept.turns >= most:
            raise self._full(
                f"{conversation.kept.turns} turns and may have at most {most}", "max_turns"
            )
        self.grow(0)

    def grow(self, count: int) -> None:
        """Count bytes that are to be kept.

        Raises:
            SessionFull: the session may not hold so many.
        """
        self._bytes += count
        if self._bytes > self._most_mb * MIB:
            held = f"{self._bytes / MIB:.1f} MiB and may have at most {self._most_mb}"
            raise self._full(held, "max_session_mb")

    def _full(self, held: str, setting: str) -> SessionFull:
        return SessionFull(
            f"session {self._conversation.kept.session!r} has {held} (sessions.{setting}); start a "
            "new session"
        )

    async def fit(self, overflow: FitContext, ask: AskForSummary) -> None:
        """Make the whole request, of as much of the conversation as the model takes.

        Raises:
            ServiceError: it does not fit, or making it fit failed.
        """

        async def sum_up(count: int, left_out: int) -> None:
            await self._sum_up(count, left_out, ask)

        await overflow.fit(self._conversation, self._request, sum_up)
        self.whole = self._conversation.whole(self._request)

    def begun(self, started: pb.Started) -> None:
        """Take note of who answers, and say in `started` what was not sent."""
        self._served = started.served_model or started.model or started.model_version
        self._conversation.mark(started)
        self._answering.begun(started)

    async def keep(
        self,
        candidates: Sequence[Candidate],
        ended: pb.Completed | pb.ProcessResponse,
        beside: pb.ProcessResponse | None = None,
    ) -> None:
        """Put the turn into the store, but for half an answer; warn of what is not sent again.

        Args:
            candidates: What was answered.
            ended: The whole answer, or the last event of one.
            beside: What the deltas of a stream say beside their candidates.

        Raises:
            Conflict: the session has changed, or is gone.
            StoreUnavailable: the store cannot be used.
        """
        half = is_half(candidates)
        if half is not None:
            _warnings_of(ended).append(half)
            return
        self._call.outcome.queued_seconds += self._place.waited
        conversation, now = self._conversation, self._context.wall()
        turn, warning = turn_of(self._request, candidates, conversation.kept.turns + 1, now)
        turn.execution = self._call.execution
        turn.model = full_name(self._served) if self._served else ""
        turn.usage.CopyFrom(ended.usage)
        turn.request_id = self._request.request_id
        if ended.HasField("cost"):
            turn.cost.CopyFrom(ended.cost)
        if self._call.outcome.pays:
            spend(conversation.session, ended.usage, ended.cost if ended.HasField("cost") else None)
        if warning is not None:
            _warnings_of(ended).append(warning)
        new = NewTurn(turn.SerializeToString(), self._answering.receipt(ended, beside))
        size = len(new.data) + (0 if new.receipt is None else len(new.receipt.answer))
        after = replace(
            conversation.changed(now, self._ttl()),
            turns=turn.index,
            bytes=conversation.kept.bytes + size,
            tokens=conversation.tokens_with(turn, self._prompt_tokens(ended)),
        )
        self._outcome = "lost"
        await self._put(after, new)
        self._outcome = "kept"
        self._place.give_back()

    def _prompt_tokens(self, ended: pb.Completed | pb.ProcessResponse) -> int:
        """Return what Gemini counted of the prompt, of several hops with the first; 0 for nothing.

        The usage of an answer of several hops has the prompt once a hop.
        """
        if not ended.continuations:
            return ended.usage.prompt_token_count
        first = self._call.outcome.hops[0].usage if self._call.outcome.hops else None
        return 0 if first is None else first.prompt_token_count

    async def _sum_up(self, count: int, left_out: int, ask: AskForSummary) -> None:
        """Have the model sum up the next `count` turns, but for the first `left_out` of them.

        Raises:
            Conflict: the session has changed, or is gone.
            ServiceError: the model failed.
        """
        conversation = self._conversation
        turns = conversation.turns[left_out:count]
        most = self._context.options().summary_tokens
        own = call_for(self._call)
        summary = await ask(own, request_for(conversation, turns, self._request, most))
        tenant, session = self._call.principal.tenant, self._request.session
        self._context.bus.publish(SessionChanged(tenant, session, "summarized"))
        conversation.summed_up(summary.text, count)
        if own.outcome.pays:
            spend(conversation.session, summary.usage, summary.cost)
        after = conversation.changed(self._context.wall(), self._ttl())
        await self._put(after, None)
        conversation.kept = after

    async def _put(self, after: SessionRow, turn: NewTurn | None) -> None:
        """Put the session in place of what was read; the caller is not to try the whole again."""
        before = self._conversation.kept
        try:
            if await self._context.store.put(before, after, turn):
                return
        except ServiceError as error:
            error.final = True
            raise
        raise Conflict(
            f"session {before.session!r} was changed or deleted while the execution ran; the "
            "answer was not added to it. Read the session again, then continue"
        )

    def _ttl(self) -> float | None:
        session = self._conversation.session
        if session.HasField("ttl"):
            return seconds_of(session.ttl)
        return self._context.options().ttl_seconds or None

    def end(self) -> None:
        """Let the next execution have the session."""
        execution, tenant = self._call.execution, self._call.principal.tenant
        self._context.bus.publish(
            SessionTurnEnded(execution, tenant, self._request.session, self._outcome)
        )
        self._place.give_back()


def refuse_halves(request: pb.ExecuteRequest) -> None:
    """Refuse what would make a turn of half an answer.

    Raises:
        InvalidRequest: the request asks for one.
    """
    asked = []
    if request.continuation_mode == pb.CONTINUATION_MODE_MANUAL:
        asked.append(
            Violation(
                "continuation_mode",
                "cannot be MANUAL with a session, whose turns are complete answers; omit it",
                "session.whole_answers",
            )
        )
    if request.continuation_token:
        asked.append(
            Violation(
                "continuation_token",
                "cannot be used with a session, whose turns are complete answers; send the turn "
                "again",
                "session.whole_answers",
            )
        )
    if asked:
        said = "; ".join(f"{one.field}: {one.description}" for one in asked)
        raise InvalidRequest(said, violations=asked)


def _warnings_of(
    ended: pb.Completed | pb.ProcessResponse,
) -> RepeatedCompositeFieldContainer[pb.Warning]:
    return ended.warnings if isinstance(ended, pb.Completed) else ended.started.warnings
