"""One whole answer as the events of a stream."""

from __future__ import annotations

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import Candidate
from gemini_backend.processing.answers.delta_merge import put
from gemini_backend.processing.answers.extras import merge_extra, put_candidate_extra
from gemini_backend.processing.answers.whole_answer import BESIDE

_CANDIDATE = ("finish_reason", "finish_reason_raw", "continuation_token", *BESIDE)


def started_of(response: pb.ProcessResponse) -> pb.Started:
    """Return what the first event says."""
    started = pb.Started()
    started.CopyFrom(response.started)
    if response.HasField("prompt_feedback"):
        started.prompt_feedback.CopyFrom(response.prompt_feedback)
    return started


def deltas_of(response: pb.ProcessResponse) -> list[pb.Delta]:
    """Return one delta for each candidate; the first one has what stands beside them."""
    deltas = [_delta_of(candidate) for candidate in response.candidates]
    if deltas:
        merge_extra(deltas[0], response, "response_extra")
    return deltas


def completed_of(response: pb.ProcessResponse) -> pb.Completed:
    """Return what the last event says, without times and attempts."""
    started = response.started
    first = response.candidates[0] if response.candidates else Candidate()
    return pb.Completed(
        finish_reason=first.finish_reason,
        finish_reason_raw=first.finish_reason_raw,
        usage=response.usage if response.HasField("usage") else None,
        cost=response.cost if response.HasField("cost") else None,
        model_version=started.model_version,
        response_id=started.response_id,
        served_service_tier=started.served_service_tier,
        served_service_tier_raw=started.served_service_tier_raw,
        model_status=started.model_status if started.HasField("model_status") else None,
        continuations=response.continuations,
    )


def _delta_of(candidate: Candidate) -> pb.Delta:
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
