"""One whole answer out of the events or the deltas of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers import text_parts
from gemini_backend.processing.answers.delta_merge import put
from gemini_backend.processing.answers.endings import is_finish
from gemini_backend.processing.answers.extras import (
    drop_repeated,
    merge_candidate_extra,
    merge_extra,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from google.protobuf.descriptor import FieldDescriptor

_STOP = content.FINISH_REASON_STOP
BESIDE = (
    "finish_message",
    "safety_ratings",
    "citation_metadata",
    "grounding_metadata",
    "url_context_metadata",
    "avg_logprobs",
    "logprobs_result",
    "token_count",
)
"""Fields that a delta and a candidate have alike."""


def response_of(events: Sequence[bytes]) -> pb.ProcessResponse:
    """Return the serialised events of a stream as one whole answer."""
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
        if field.name in BESIDE:
            _replace(candidate, field, value)
        elif field.name == "candidate_index":
            candidate.index = value
        elif field.name == "parts":
            text_parts.append(candidate.content.parts, value)
        elif field.name == "role":
            candidate.content.role = value
    merge_candidate_extra(candidate, delta)


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
