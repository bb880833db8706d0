"""The events of several hops as the events of one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.long_answers import endings
from gemini_backend.policies.long_answers.endings import Ending
from gemini_backend.policies.long_answers.hop_chain import CONTINUATION, MAX_TOKENS, HopEnd
from gemini_backend.policies.outcome import add_counts
from gemini_backend.processing.answers.endings import end_was_seen
from gemini_backend.processing.answers.extras import put_text
from gemini_backend.processing.json_objects import fields_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.long_answers.first_hop import FirstHop
    from gemini_backend.policies.long_answers.hop_chain import HopChain

_Closing = Literal["finish_reason", "finish_reason_raw", "finish_message", "continuation_token"]
_CLOSING: tuple[_Closing, ...] = (
    "finish_reason",
    "finish_reason_raw",
    "finish_message",
    "continuation_token",
)


class HopEvents:
    """Takes the events of each hop, and gives what the caller sees of them.

    That is one `started`, every delta, one `completed`. The finish reason CONTINUATION and its
    token are taken off a delta as it passes; where the answer is not followed after all, they come
    in a delta of their own before `completed`. Of a hop that is not the first its `started` is left
    out: what it says anew stands on the hop's first delta.
    """

    __slots__ = (
        "_after",
        "_chain",
        "_closings",
        "_event",
        "_head",
        "_held",
        "_latest",
        "_tokens",
    )

    def __init__(self, chain: HopChain, first: FirstHop) -> None:
        """Begin with the end of the first hop: the events that come from there on are taken."""
        chain.began(first)
        self._chain = chain
        self._held: pb.ExecuteResponse | None = None  # the end of a hop that may go on
        self._closings: list[pb.Delta] = []
        self._event = 0  # of Gemini's, over all hops, that came last
        self._after = 0  # the one that the last whole hop ended with
        self._head = _Head(first.started or pb.Started())
        self._latest: Usage | None = None
        self._tokens = (0, 0)  # of the candidate: in whole hops, and so far in the one under way

    @property
    def call(self) -> Call:
        """The call of the hop under way, bound to the key that gave the one before."""
        return self._chain.call

    @property
    def request(self) -> Any:
        """What is sent for the hop under way."""
        return self._chain.request

    @property
    def ending(self) -> Ending | None:
        """Why the answer was not followed any further; None where Gemini ended it."""
        return self._chain.ending

    @property
    def token(self) -> bytes:
        """The token that the caller is given at the end; empty where Gemini ended the answer."""
        return b"" if self._held is None else self._held.completed.continuation_token

    def take(self, event: pb.ExecuteResponse) -> pb.ExecuteResponse | None:
        """Take an event; return what is to be handed on, None for nothing.

        Raises:
            EmptyAnswer: the answer is at its end, and no hop said anything.
            AnswerBlocked: the answer is at its end, and no hop said anything, for a reason.
        """
        kind = event.WhichOneof("event")
        if kind == "delta":
            self._take_delta(event.delta)
        elif kind == "completed":
            return self._take_completed(event)
        elif not self._chain.continued:
            return event
        elif kind == "started":
            self._head.take(event.started)
            return None
        else:
            self._sum_up(event.usage)
        return event

    def goes_on(self) -> bool:
        """Say whether there is another hop to be asked for, now that one has come to its end.

        Raises:
            StreamCut: the answer can be continued no more.
        """
        if self._held is None:
            return False
        done = self._held.completed
        tokens = (done.continuation_token, *(one.continuation_token for one in self._closings))
        token = next(filter(None, tokens), b"")
        self._after = self._event
        if not self._chain.goes_on(_end_of(done, token)):
            done.continuation_token = token
            return False
        self._chain.warnings.extend(done.warnings)
        self._held = self._latest = None
        self._tokens = (sum(self._tokens), 0)
        self._closings.clear()
        return True

    def last(self) -> Iterator[pb.ExecuteResponse]:
        """Yield the last events of an answer that is not followed any further."""
        if self._held is None:
            return
        done, ending = self._held.completed, self._chain.ending
        if ending is Ending.USED_UP:
            done.finish_reason = MAX_TOKENS
        elif ending is Ending.TOO_LARGE:
            done.ClearField("continuation_token")
        for closing in self._closings:
            if ending is Ending.USED_UP:
                closing.finish_reason = MAX_TOKENS
                closing.ClearField("finish_message")
            if not done.continuation_token:
                closing.ClearField("continuation_token")
            yield pb.ExecuteResponse(delta=closing)
        self._complete(done)
        yield self._held

    def failed(self, error: ServiceError) -> ServiceError:
        """Write into a failure, once, what there was before it; return it."""
        self._chain.failed(error, self._latest)
        if error.failure is not None and error.failure.continuation_token:
            error.metadata["continuation_after_event"] = str(self._after)
        return error

    def _take_delta(self, delta: pb.Delta) -> None:
        chain = self._chain
        if chain.continued:
            self._go_on(delta)
        self._event = max(self._event, delta.upstream_event)
        if delta.HasField("token_count"):
            before = self._tokens[0]
            self._tokens = (before, delta.token_count)
            delta.token_count += before
        chain.saw(delta.parts)
        if not delta.finish_reason:
            return
        chain.several = chain.several or delta.candidate_index > 0
        if chain.manual or chain.several:
            return
        reason = delta.finish_reason
        if reason == CONTINUATION or (reason == MAX_TOKENS and delta.continuation_token):
            self._closings.append(_taken_off(delta))
        elif delta.continuation_token:
            chain.warnings.append(endings.ignored_token())

    def _take_completed(self, event: pb.ExecuteResponse) -> pb.ExecuteResponse | None:
        done, chain = event.completed, self._chain
        reasons = {closing.finish_reason for closing in self._closings}
        if done.finish_reason == CONTINUATION or done.finish_reason in reasons:
            self._held = event
            return None
        if any(closing.continuation_token for closing in self._closings):
            chain.warnings.append(endings.ignored_token())
        if chain.continued:
            chain.took(_end_of(done, b""))
            chain.check_said(done.finish_reason, done.finish_reason_raw)
        self._complete(done)
        return event

    def _complete(self, done: pb.Completed) -> None:
        if self._chain.continued:
            self._chain.put_usage(done)
        done.warnings.extend(self._chain.warnings)

    def _go_on(self, delta: pb.Delta) -> None:
        """Write into a delta of a later hop what counts over all hops."""
        if delta.upstream_event:
            delta.upstream_event += self._after
        if delta.HasField("usage"):
            self._sum_up(delta.usage)
        self._head.put(delta)

    def _sum_up(self, usage: Usage) -> None:
        if self._chain.used is not None:
            add_counts(usage, self._chain.used)
        self._latest = usage


class _Head:
    """What `started` said of the answer, and what that of the hop under way says otherwise."""

    __slots__ = ("_first", "_other", "_version")

    def __init__(self, first: pb.Started) -> None:
        self._first = first
        self._version = ""
        self._other: dict[str, str] = {}

    def take(self, started: pb.Started) -> None:
        """Take the head of a later hop."""
        first, version = self._first, started.model_version
        self._version = version if version != first.model_version else ""
        if started.response_id not in {"", first.response_id}:
            self._other["responseId"] = started.response_id
        if started.HasField("create_time") and started.create_time != first.create_time:
            self._other["createTime"] = started.create_time.ToJsonString()

    def put(self, delta: pb.Delta) -> None:
        """Write what is said otherwise into a delta: the version into each, the rest into one."""
        if self._version and not delta.model_version:
            delta.model_version = self._version
        if not self._other:
            return
        known = fields_of(delta.response_extra_json or "{}")
        for name, value in self._other.items():
            known.setdefault(name, msgspec.Raw(msgspec.json.encode(value)))
        put_text(delta, text_of(known), "response_extra")
        self._other.clear()


def _end_of(done: pb.Completed, token: bytes) -> HopEnd:
    return HopEnd(
        reason=done.finish_reason,
        token=token,
        usage=done.usage if done.HasField("usage") else None,
        served=done,
        seen=end_was_seen(done),
    )


def _taken_off(delta: pb.Delta) -> pb.Delta:
    """Take the end of an answer off a delta; return it as a delta of its own."""
    closing = pb.Delta(upstream_event=delta.upstream_event)
    if delta.HasField("candidate_index"):
        closing.candidate_index = delta.candidate_index
    for field, value in delta.ListFields():
        if field.name in _CLOSING:
            setattr(closing, field.name, value)
    for name in _CLOSING:
        delta.ClearField(name)
    return closing
