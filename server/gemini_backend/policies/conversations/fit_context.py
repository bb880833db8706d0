"""A conversation kept within what the model takes: older turns go, or a summary stands for them.

Tokens are counted only where the conversation may be too long: what Gemini said of the turn before
is known, and no text has more tokens than bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from cachetools import LRUCache

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini_backend.errors import (
    Conflict,
    ContextTooLong,
    DeadlinePassed,
    ServiceError,
    StoreUnavailable,
)
from gemini_backend.models.names import full_name, short_name
from gemini_backend.policies.conversations.conversation import inputs_of, summary_note
from gemini_backend.policies.conversations.drop_oldest import oldest_to_go
from gemini_backend.policies.conversations.kept_answer import answers_a_call, sent_again
from gemini_backend.processing.tokens.rules_of_thumb import typical_tokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from google.protobuf.message import Message

    from gemini.backend.v1.content_pb2 import Content
    from gemini_backend.policies.conversations.conversation import Conversation

    # the most tokens that a model takes in and gives out; None where that is not known
    Limits = Callable[[str], tuple[int, int] | None]
    # puts a summary in place of that many turns
    SumUp = Callable[[int, int], Awaitable[None]]

_DROP = sessions.SESSION_OVERFLOW_DROP_OLDEST
_SUMMARIZE = sessions.SESSION_OVERFLOW_SUMMARIZE
_REFUSE = sessions.SESSION_OVERFLOW_REFUSE
_MODES = {"drop_oldest": _DROP, "summarize": _SUMMARIZE, "refuse": _REFUSE}
# How many turns' counts are remembered; the one unused for longest is counted again.
_REMEMBERED = 65_536
# After summing up, the turns that stay have this share of what the model takes, so that it is not
# summed up again at the next turn.
_STAYS = 0.5
# What is summed up may have this share of it: the transcript has words of its own.
_SUMMED_UP = 0.8
# What media claim to hold may come to more than the report has room for.
_MOST_TOLD = 2**31 - 1


class CountTokens(Protocol):
    """Counts the tokens of contents, without blocking the event loop."""

    def __call__(self, contents: Sequence[Content]) -> Awaitable[int]:
        """Return how many there are."""
        ...


class FitContext:
    """Finds out whether a conversation fits, and what has to go."""

    def __init__(
        self,
        limits: Limits,
        count: CountTokens,
        default_model: Callable[[], str],
        mode: Callable[[], str],
    ) -> None:
        """Know what models take.

        Args:
            limits: Asked by a model's full name.
            count: Counts what may be too long.
            default_model: What a request without a model gets.
            mode: What happens where the session does not say.
        """
        self._limits = limits
        self._count = count
        self._default_model = default_model
        self._mode = mode
        self._counts: LRUCache[tuple[int, int], int] = LRUCache(_REMEMBERED)

    async def fit(
        self, conversation: Conversation, request: pb.ExecuteRequest, sum_up: SumUp
    ) -> None:
        """Make a conversation and what is asked now fit into the model.

        Args:
            conversation: What was said; turns are skipped, or replaced by a summary.
            request: What is asked now.
            sum_up: Called with how many turns are to be summed up, from the first one on, and how
                many of those the summary may leave out for want of room.

        Raises:
            Conflict: the session changed while it was summed up.
            ContextTooLong: nothing may go, or what is asked now is too long by itself.
            DeadlinePassed: the deadline passed meanwhile.
            StoreUnavailable: the summary could not be kept.
        """
        model = full_name(request.model or conversation.session.model or self._default_model())
        limits = self._limits(model)
        if limits is None or not limits[0]:
            return
        limit = limits[0]
        # what stands beside the turns may be more than it was at the turn before
        beside = (*request.tools, request.system_instruction)
        if conversation.kept.tokens + _bytes((*inputs_of(request), *beside)) <= limit:
            return
        sizes = [await self._size(conversation, turn) for turn in conversation.turns]
        asked = await self._asked(conversation, request)
        pinned = _pinned(conversation, request)
        if pinned:
            asked += sum(sizes[-pinned:])
            del sizes[-pinned:]
        asked += await self._note(conversation, limit - asked)
        conversation.tokens = asked + sum(sizes)
        if conversation.tokens <= limit:
            return
        mode = conversation.session.overflow or _MODES[self._mode()]
        if request.truncation == pb.TRUNCATION_DROP_OLDEST:
            mode = _DROP
        if request.truncation == pb.TRUNCATION_MIDDLE_OUT and (mode == _REFUSE or asked > limit):
            return  # what is too long is cut before it is sent
        if mode == _REFUSE or asked > limit:
            raise _too_long(model, conversation.tokens, asked, limit, mode)
        if mode == _SUMMARIZE and await self._summed_up(conversation, sizes, asked, limit, sum_up):
            return
        _drop(conversation, sizes, asked, limit)

    async def _summed_up(
        self,
        conversation: Conversation,
        sizes: Sequence[int],
        asked: int,
        limit: int,
        sum_up: SumUp,
    ) -> bool:
        """Have older turns summed up; return False, with a warning, where that failed."""
        going = _oldest(conversation, sizes, max(0, int(limit * _STAYS) - asked))
        going = max(going, _oldest(conversation, sizes, limit - asked))
        # what is summed up has to fit as well
        left_out = _oldest(conversation, sizes[:going], int(limit * _SUMMED_UP))
        try:
            await sum_up(going, left_out)
        except (Conflict, DeadlinePassed, StoreUnavailable):
            raise  # the answer could not be kept either
        except ServiceError as error:
            said = f"the session could not be summarized ({error.reason}); its oldest turns were "
            warning = pb.Warning(code="SESSION_SUMMARY_FAILED", message=f"{said}omitted instead")
            conversation.warnings.append(warning)
            return False
        rest = asked + sum(sizes[going:])
        conversation.tokens = rest + await self._note(conversation, limit - rest)
        return True

    async def _note(self, conversation: Conversation, room: int) -> int:
        """Return the tokens of the summary, which is left out where there is no room for it."""
        if not conversation.session.summary:
            return 0
        note = await self._count(summary_note(conversation.session.summary))
        conversation.sends_summary = note <= room
        return note if note <= room else 0

    async def _asked(self, conversation: Conversation, request: pb.ExecuteRequest) -> int:
        """Return the tokens of what is asked now, with tools and instruction."""
        session = conversation.session
        fixed = list(inputs_of(request))
        if request.HasField("system_instruction"):
            fixed.append(request.system_instruction)
        elif session.HasField("system_instruction"):
            fixed.append(session.system_instruction)
        return await self._count(fixed) + typical_tokens(_bytes(request.tools))

    async def _size(self, conversation: Conversation, turn: sessions.SessionTurn) -> int:
        key = (conversation.kept.uid, turn.index)
        size = self._counts.get(key)
        if size is None:
            said = sent_again(turn)
            size = self._counts[key] = await self._count(said) if said else 0
        return size


def _bytes(messages: Iterable[Message]) -> int:
    return sum(message.ByteSize() for message in messages)


def _oldest(conversation: Conversation, sizes: Sequence[int], room: int) -> int:
    """Return how many turns have to go, from the first one on, for the others to have room.

    Calls and their results go together: a turn that brings results does not come first.
    """
    turns = conversation.turns
    return oldest_to_go(sizes, room, lambda place: not answers_a_call(turns[place].inputs))


def _pinned(conversation: Conversation, request: pb.ExecuteRequest) -> int:
    """Return how many turns, counted from the last one, belong to what is asked now.

    Results of function calls cannot be sent without the turn that called.
    """
    turns = conversation.turns
    pinned = 0
    goes_on = answers_a_call(inputs_of(request))
    while goes_on and pinned < len(turns):
        pinned += 1
        goes_on = answers_a_call(turns[-pinned].inputs)
    return pinned


def _drop(conversation: Conversation, sizes: Sequence[int], asked: int, limit: int) -> None:
    """Skip as many of the oldest turns as have to go."""
    dropped = _oldest(conversation, sizes, limit - asked)
    before = asked + sum(sizes)
    conversation.skipped = dropped
    conversation.report = pb.TruncationReport(
        truncation=pb.TRUNCATION_DROP_OLDEST,
        dropped_turns=dropped,
        original_tokens=min(before, _MOST_TOLD),
        remaining_tokens=before - sum(sizes[:dropped]),
    )


def _too_long(
    model: str, tokens: int, asked: int, limit: int, mode: sessions.SessionOverflow.ValueType
) -> ContextTooLong:
    what = f"{short_name(model)} accepts at most {limit} tokens"
    if mode == _REFUSE and asked <= limit:
        msg = (
            f"the conversation has {tokens} tokens, {asked} of them in the new turn, and {what}; "
            "start a new session, or create it with overflow DROP_OLDEST or SUMMARIZE"
        )
    else:
        msg = f"the new turn has {asked} tokens, and {what}; shorten it"
    return ContextTooLong(msg, metadata={"tokens": str(tokens), "limit": str(limit)})
