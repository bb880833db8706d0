"""A session as it was read: what is sent to the model, and what is kept of the answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import UnknownResource
from gemini_backend.policies.conversations.kept_answer import kept_answer, sent_again
from gemini_backend.sizes import KIB
from gemini_backend.stores.sessions import SessionKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gemini_backend.call import Call
    from gemini_backend.stores.session_service import SessionContext
    from gemini_backend.stores.sessions import NewTurn, SessionRow

    Whole = pb.ExecuteRequest | pb.CountTokensRequest

_LONG = 64 * KIB
"""Bytes from which on a conversation keeps others waiting, if it is not worked on in slices."""
_NOTE = "Summary of our conversation so far, instead of its older turns:\n\n"
_NOTED = "Understood. I will continue from there."


class Conversation:
    """One session, with the turns that its summary does not stand for.

    `skipped` of those, from the first one on, are not sent, nor is the summary unless
    `sends_summary`; `report` and `warnings` go into `started`.
    `tokens` is what all of it came to where it was counted, else None. `answered` is the turn that
    the request, which it was read for, has made before.
    """

    def __init__(
        self, kept: SessionRow, turns: Iterable[bytes], answered: NewTurn | None = None
    ) -> None:
        """Read what the store gave."""
        self.kept = kept
        self.answered = answered
        self.session = sessions.Session.FromString(kept.head)
        self.turns = [sessions.SessionTurn.FromString(data) for data in turns]
        self.skipped = 0
        self.sends_summary = True
        self._cut = False
        self.tokens: int | None = None
        self.report: pb.TruncationReport | None = None
        self.warnings: list[pb.Warning] = []

    def whole(self, request: pb.ExecuteRequest) -> pb.ExecuteRequest:
        """Return the request with everything that was said before, and the session's defaults.

        It does not name the session any more: two requests that say the same are the same.
        """
        whole = pb.ExecuteRequest()
        whole.CopyFrom(request)
        for field in ("session", "prompt", "contents"):
            whole.ClearField(field)
        self._put_before(whole, request)
        for key, value in self.session.labels.items():
            if key not in request.labels:
                whole.labels[key] = value
        return whole

    def _put_before(self, whole: Whole, request: Whole) -> None:
        """Put the conversation and its defaults where the new turn is to stand, and the turn."""
        for said in self.before():
            whole.contents.extend(said)
        whole.contents.extend(inputs_of(request))
        session = self.session
        if not whole.model:
            whole.model = session.model
        if session.HasField("system_instruction") and not whole.HasField("system_instruction"):
            whole.system_instruction.CopyFrom(session.system_instruction)

    def whole_count(self, request: pb.CountTokensRequest) -> pb.CountTokensRequest:
        """Return what is to be counted with everything that was said before."""
        whole = pb.CountTokensRequest()
        whole.CopyFrom(request)
        for field in ("session", "prompt", "contents"):
            whole.ClearField(field)
        self._put_before(whole, request)
        return whole

    def before(self) -> list[list[content.Content]]:
        """Return what was said before, as it is sent: the summary, then turn by turn."""
        summary = self.session.summary if self.sends_summary else ""
        note = [summary_note(summary)] if summary else []
        return note + [sent_again(turn) for turn in self.turns[self.skipped :]]

    def summed_up(self, summary: str, count: int) -> None:
        """Let a summary stand for the next `count` turns too."""
        self.session.summary = summary
        self.turns = self.turns[count:]
        self.kept = replace(self.kept, summarized=self.kept.summarized + count)

    def changed(self, now: float, ttl: float | None) -> SessionRow:
        """Return the session as it stands after this moment, to be put in place of `kept`."""
        return replace(
            self.kept,
            version=self.kept.version + 1,
            head=self.session.SerializeToString(),
            used=now,
            expires=None if ttl is None else now + ttl,
        )

    def tokens_with(self, turn: sessions.SessionTurn, prompt: int) -> int:
        """Return how many tokens the conversation has with one more turn, never less.

        Gemini's own count of the prompt, 0 where there is none, is the best there is, where all of
        it was sent.
        """
        answered = turn.usage.candidates_token_count or turn.output.ByteSize()
        if prompt and not self.skipped and not self._cut:
            return prompt + answered
        before = self.tokens
        if before is None:
            before = self.kept.tokens + sum(one.ByteSize() for one in turn.inputs)
        return before + answered

    def mark(self, started: pb.Started) -> None:
        """Say in `started` what of the conversation was not sent.

        What it says already was cut further in, for the model that answers: its count of the
        prompt is not that of the conversation.
        """
        self._cut = started.HasField("truncation")
        if self.report is not None:
            started.truncation.CopyFrom(self.report)
        started.warnings.extend(self.warnings)


async def read_conversation(
    context: SessionContext,
    call: Call,
    session: str,
    request_id: str = "",
    *,
    to_write: bool = False,
) -> Conversation:
    """Return a session of the caller's, by its name, as it stands; `to_write` before a turn.

    Raises:
        UnknownResource: there is no such session, or it is somebody else's.
        StoreUnavailable: the store cannot be used.
    """
    key = SessionKey(call.principal.owner, session.removeprefix("sessions/"))
    loaded = await context.store.load(key, context.wall(), request_id, to_write=to_write)
    if loaded is None:
        raise UnknownResource(
            f"there is no session {key.session!r}; check the name, and that it has not "
            "expired, or create it"
        )
    return Conversation(*loaded)


def sized(call: Call, whole: Whole) -> Call:
    """Return the call with the size of a whole conversation, if that is worked on in slices."""
    size = whole.ByteSize()
    return call.narrowed(large=size) if call.large or size > _LONG else call


def inputs_of(request: Whole) -> Sequence[content.Content]:
    """Return what a request says; a prompt is one turn of the user's."""
    if request.prompt:
        return [content.Content(role="user", parts=[content.Part(text=request.prompt)])]
    return request.contents


def turn_of(
    request: pb.ExecuteRequest, candidates: Iterable[content.Candidate], index: int, now: float
) -> tuple[sessions.SessionTurn, pb.Warning | None]:
    """Return the turn that an execution has come to, without usage, cost, model and execution.

    Args:
        request: What was asked, as it came.
        candidates: What was answered; the first one's content becomes the output.
        index: Its number in the session.
        now: Seconds since the epoch.

    Returns:
        The turn, and a warning where the conversation goes on without it, or a part of it.
    """
    turn = sessions.SessionTurn(
        index=index, inputs=inputs_of(request), create_time=timestamp_of(now), candidates=candidates
    )
    first = turn.candidates[0] if turn.candidates else content.Candidate()
    output, warning = kept_answer(first)
    if output is not None:
        turn.output.CopyFrom(output)
        first.ClearField("content")
    return turn, warning


def summary_note(summary: str) -> list[content.Content]:
    """Return a summary as it stands before the turns that it does not stand for."""
    texts = (("user", _NOTE + summary), ("model", _NOTED))
    return [content.Content(role=role, parts=[content.Part(text=text)]) for role, text in texts]
