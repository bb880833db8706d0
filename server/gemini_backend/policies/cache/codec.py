"""An answer as it is kept: as few events as lose nothing, and as one whole message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.cache.delta_merge import goes_on, joined, put
from gemini_backend.policies.cache.endings import end_was_seen, is_finish
from gemini_backend.policies.cache.extras import (
    drop_repeated,
    merge_candidate_extra,
    merge_extra,
    put_candidate_extra,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.descriptor import FieldDescriptor
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

_STOP = content.FINISH_REASON_STOP
_HIT = pb.CACHE_STATUS_HIT
_BESIDE = (
    "finish_message",
    "safety_ratings",
    "citation_metadata",
    "grounding_metadata",
    "url_context_metadata",
    "avg_logprobs",
    "logprobs_result",
    "token_count",
)
_CANDIDATE = ("finish_reason", "finish_reason_raw", "continuation_token", *_BESIDE)


class Recording:
    """Takes the events of one answer, and says at its end whether it is worth keeping.

    It is not when it was cut, blocked or truncated, when its end was not seen, when another model
    than the one asked for gave it, or when it is larger than `max_bytes`; what is known before the
    end makes that nothing of it is held any longer. Of the finish reasons of a candidate the last
    one counts: pieces may follow the others.
    """

    __slots__ = ("_bytes", "_deltas", "_good", "_max_bytes", "_started", "_stopped")

    def __init__(self, max_bytes: int) -> None:
        """Record one answer of at most so many bytes."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._good = True
        self._started: bytes | None = None
        self._deltas: list[bytes] = []
        self._stopped: set[int] = set()  # candidates whose last finish reason is not STOP

    def take(self, event: pb.ExecuteResponse) -> tuple[bytes, ...] | None:
        """Take the next event as it is now; return the whole once it is there, and good."""
        if not self._good:
            return None
        kind = event.WhichOneof("event")
        if kind == "delta":
            self._take_delta(event.delta)
        elif kind == "started":
            if event.started.served_model not in {"", event.started.model}:
                self._give_up()
            self._started = event.started.SerializeToString()
        elif kind == "completed":
            return self._whole(event.completed)
        return None

    def _take_delta(self, delta: pb.Delta) -> None:
        if is_finish(delta):
            if delta.finish_reason == _STOP and not delta.finish_reason_raw:
                self._stopped.discard(delta.candidate_index)
            else:
                self._stopped.add(delta.candidate_index)
        data = delta.SerializeToString()
        self._bytes += len(data)
        self._deltas.append(data)
        if self._bytes > self._max_bytes:
            self._give_up()

    def _whole(self, completed: pb.Completed) -> tuple[bytes, ...] | None:
        if completed.finish_reason != _STOP or completed.finish_reason_raw or self._stopped:
            return None
        if not end_was_seen(completed):
            return None
        if self._started is None or not self._deltas:
            return None
        started = pb.Started.FromString(self._started)
        deltas = joined(pb.Delta.FromString(data) for data in self._deltas)
        events = stored_events(started, deltas, completed)
        return events if sum(map(len, events)) <= self._max_bytes else None

    def _give_up(self) -> None:
        self._good = False
        self._deltas.clear()


def stored_events(
    started: pb.Started, deltas: Sequence[pb.Delta], completed: pb.Completed
) -> tuple[bytes, ...]:
    """Return the events of a hit, without what belonged to the execution that made them."""
    first, last = pb.ExecuteResponse(), pb.ExecuteResponse()
    first.started.CopyFrom(started)
    first.started.cache_status = _HIT
    last.completed.CopyFrom(completed)
    for field in ("cost", "timing", "attempts"):
        last.completed.ClearField(field)
    middle = (pb.ExecuteResponse(delta=delta) for delta in deltas)
    return tuple(event.SerializeToString() for event in (first, *middle, last))


def events_of(response: pb.ProcessResponse) -> tuple[bytes, ...] | None:
    """Return a whole answer as the events that are kept; None where it is not worth keeping."""
    started = response.started
    good = response.candidates and started.served_model in {"", started.model}
    for candidate in response.candidates:
        good = good and candidate.finish_reason == _STOP and not candidate.finish_reason_raw
    if not good:
        return None
    first = pb.Started()
    first.CopyFrom(started)
    if response.HasField("prompt_feedback"):
        first.prompt_feedback.CopyFrom(response.prompt_feedback)
    deltas = [_delta_of(candidate) for candidate in response.candidates]
    merge_extra(deltas[0], response, "response_extra")
    completed = pb.Completed(
        finish_reason=_STOP,
        usage=response.usage if response.HasField("usage") else None,
        model_version=started.model_version,
        response_id=started.response_id,
        served_service_tier=started.served_service_tier,
        served_service_tier_raw=started.served_service_tier_raw,
        model_status=started.model_status if started.HasField("model_status") else None,
        continuations=response.continuations,
    )
    return stored_events(first, deltas, completed)


def response_of(events: Sequence[bytes]) -> pb.ProcessResponse:
    """Return kept events as one whole answer."""
    response = pb.ProcessResponse()
    deltas = []
    for data in events:
        event = pb.ExecuteResponse.FromString(data)
        kind = event.WhichOneof("event")
        if kind == "delta":
            deltas.append(event.delta)
            merge_extra(response, event.delta, more_name="response_extra")
        elif kind == "completed":
            response.continuations = event.completed.continuations
            response.started.warnings.extend(event.completed.warnings)
            if event.completed.HasField("usage"):
                response.usage.CopyFrom(event.completed.usage)
        elif kind == "started":
            response.started.CopyFrom(event.started)
            if event.started.HasField("prompt_feedback"):
                response.prompt_feedback.CopyFrom(event.started.prompt_feedback)
                response.started.ClearField("prompt_feedback")
    response.candidates.extend(candidates_of(deltas))
    return response


def candidates_of(deltas: Iterable[pb.Delta]) -> list[content.Candidate]:
    """Return whole candidates, in the order in which they began."""
    by_index: dict[int, content.Candidate] = {}
    for delta in deltas:
        _add_to(by_index.setdefault(delta.candidate_index, content.Candidate()), delta)
    for candidate in by_index.values():
        drop_repeated(candidate.content)
    return list(by_index.values())


def _add_to(candidate: content.Candidate, delta: pb.Delta) -> None:
    """Put a delta at the end of a candidate; parts and citations are kept all, else the latest.

    An empty message says nothing: it comes with each piece until there is something to say.
    """
    if is_finish(delta) or not (candidate.finish_reason or candidate.finish_reason_raw):
        candidate.finish_reason = delta.finish_reason
        candidate.finish_reason_raw = delta.finish_reason_raw
    if delta.continuation_token or delta.parts or candidate.finish_reason == _STOP:
        # a token leads on behind all that was said, or not at all
        candidate.continuation_token = delta.continuation_token
    for field, value in delta.ListFields():
        if field.name in _BESIDE:
            _replace(candidate, field, value)
        elif field.name == "candidate_index":
            candidate.index = value
        elif field.name == "parts":
            _append(candidate.content.parts, value)
        elif field.name == "role":
            candidate.content.role = value
    merge_candidate_extra(candidate, delta)


def _append(
    parts: RepeatedCompositeFieldContainer[content.Part], more: Sequence[content.Part]
) -> None:
    """Put parts at the end; text goes on with the text before it."""
    if parts and more and goes_on(parts[-1], more[0]):
        parts[-1].text += more[0].text
        more = more[1:]
    parts.extend(more)


def _replace(candidate: content.Candidate, field: FieldDescriptor, value: Any) -> None:
    if field.name == "citation_metadata":
        _cite(candidate.citation_metadata, value)
    elif isinstance(value, Message) and not value.ListFields():
        getattr(candidate, field.name).SetInParent()
    else:
        candidate.ClearField(field.name)  # type: ignore[arg-type] # one of `_CANDIDATE`
        put(candidate, field, value)


def _cite(citations: content.CitationMetadata, more: content.CitationMetadata) -> None:
    """Add works that are not named yet."""
    citations.SetInParent()
    for name in ("citation_sources", "citations"):
        named = getattr(citations, name)
        named.extend(source for source in getattr(more, name) if source not in list(named))
    merge_extra(citations, more)


def _delta_of(candidate: content.Candidate) -> pb.Delta:
    """Return a whole candidate as one delta, the way a stream tells it."""
    delta = pb.Delta(upstream_event=1)
    for field, value in candidate.ListFields():
        if field.name in _CANDIDATE:
            put(delta, field, value)
        elif field.name == "index":
            delta.candidate_index = value
    if candidate.HasField("content"):
        turn = candidate.content
        delta.parts.extend(turn.parts)
        if turn.HasField("role"):
            delta.role = turn.role
    put_candidate_extra(delta, candidate)
    return delta
