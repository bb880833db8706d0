"""What is kept of an answer, and how it is told again."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.cache.codec import Recording, events_of
from gemini_backend.processing.answers.endings import END_NOT_SEEN
from gemini_backend.processing.answers.extras import put_text
from gemini_backend.processing.answers.whole_answer import response_of
from tests.support.messages.calls import completed, delta, started
from tests.support.upstreams.counting_upstream import GOOD, answer_of, text_of

LARGE = 1_000_000


def record(*events: pb.ExecuteResponse, max_bytes: int = LARGE) -> list[pb.ExecuteResponse] | None:
    """Return what is kept of a stream, parsed."""
    recording = Recording(max_bytes)
    for event in events:
        whole = recording.take(event)
    return None if whole is None else [pb.ExecuteResponse.FromString(data) for data in whole]


def ended(reason: int) -> pb.ExecuteResponse:
    return pb.ExecuteResponse(completed=pb.Completed(finish_reason=reason))  # type: ignore[arg-type]


def test_a_good_answer_is_kept_as_three_events() -> None:
    """`started`, one delta with the whole text, `completed` with the usage."""
    events = record(*GOOD)
    assert events is not None
    assert ["started", "delta", "completed"] == [event.WhichOneof("event") for event in events]
    assert "hello" == text_of(events)
    assert pb.CACHE_STATUS_HIT == events[0].started.cache_status
    assert 7 == events[2].completed.usage.total_token_count


@pytest.mark.parametrize(
    "events",
    [
        (started(), delta("a")),
        (started(), completed()),
        (started(), delta("a"), ended(content.FINISH_REASON_MAX_TOKENS)),
        (started(), delta("a"), ended(content.FINISH_REASON_SAFETY)),
        (
            started(),
            pb.ExecuteResponse(delta=pb.Delta(finish_reason=content.FINISH_REASON_MAX_TOKENS)),
            completed(),
        ),
        (started(), pb.ExecuteResponse(delta=pb.Delta(finish_reason_raw="NEW")), completed()),
        (started(), delta("a"), ended(content.FINISH_REASON_CONTINUATION)),
        (
            pb.ExecuteResponse(started=pb.Started(model="models/a", served_model="models/b")),
            delta("a"),
            completed(),
        ),
    ],
)
def test_what_is_not_whole_and_good_is_not_kept(events: Any) -> None:
    """Cut, empty, truncated, blocked, strange, or by another model: nothing is kept."""
    assert record(*events) is None


STOP, MOST = content.FINISH_REASON_STOP, content.FINISH_REASON_MAX_TOKENS


def finished(text: str, **reason: Any) -> pb.ExecuteResponse:
    """Return a piece with a finish reason."""
    return pb.ExecuteResponse(delta=pb.Delta(parts=[content.Part(text=text)], **reason))


@pytest.mark.parametrize(
    "early",
    [
        {"finish_reason": STOP},
        {"finish_reason": MOST},
        {"finish_reason_raw": "NEW"},
        {"finish_reason_raw": "FINISH_REASON_UNSPECIFIED"},
    ],
)
def test_what_follows_a_finish_reason_is_kept(early: dict[str, Any]) -> None:
    """Of several reasons the last one counts, in a stream of hits and in a whole answer."""
    events = record(
        started(),
        finished("a", **early),
        delta("b"),
        finished("c", finish_reason=STOP),
        completed(),
    )
    assert events is not None
    assert "abc" == text_of(events)
    (candidate,) = response_of([event.SerializeToString() for event in events]).candidates
    assert "abc" == "".join(part.text for part in candidate.content.parts)
    assert (STOP, "") == (candidate.finish_reason, candidate.finish_reason_raw)


@pytest.mark.parametrize("late", [MOST, content.FINISH_REASON_SAFETY])
def test_an_answer_whose_last_finish_reason_is_another_is_not_kept(late: Any) -> None:
    """Nor one with any candidate that ended so."""
    first = finished("a", finish_reason=STOP)
    assert record(started(), first, finished("b", finish_reason=late), completed()) is None
    other = finished("b", finish_reason=late, candidate_index=1)
    assert record(started(), other, first, completed()) is None


def test_an_answer_whose_end_was_not_seen_is_not_kept() -> None:
    """More may have been to come; other warnings do no harm."""
    done = completed()
    done.completed.warnings.add(code="TEXT_REPLACED")
    assert record(started(), delta("a"), done) is not None
    done.completed.warnings.add(code=END_NOT_SEEN.code)
    assert record(started(), delta("a"), done) is None


def test_a_large_answer_is_not_kept() -> None:
    """Beyond its bound an answer is not kept, nor held while it comes."""
    recording = Recording(100)
    for event in (started(), delta("x" * 90), delta("y" * 90)):
        recording.take(event)
    assert [] == recording._deltas
    assert recording.take(completed()) is None


def test_what_layers_outside_do_to_an_event_is_not_kept() -> None:
    """An event is kept as it was when it came by."""
    recording = Recording(LARGE)
    piece = delta("secret placeholder")
    for event in (started(), piece):
        recording.take(event)
        event.delta.parts.add(text="put back") if event.HasField("delta") else None
    whole = recording.take(completed())
    assert whole is not None
    assert "secret placeholder" == pb.ExecuteResponse.FromString(whole[1]).delta.parts[0].text


def test_a_whole_answer_survives_as_events() -> None:
    """What Process answered is the same after it was kept as a stream."""
    response = answer_of()
    response.continuations = 2
    candidate = response.candidates[0]
    candidate.index = 0
    candidate.continuation_token = b"after its end"
    candidate.token_count = 3
    put_text(candidate, '{"new":{"x":1}}')
    put_text(candidate.content, '{"other":"y"}')
    candidate.citation_metadata.citation_sources.add(uri="https://example.com")
    put_text(response, '{"beside":true}')
    response.prompt_feedback.safety_ratings.add(probability=content.HARM_PROBABILITY_LOW)
    response.candidates.add(finish_reason=content.FINISH_REASON_STOP, index=1).content.SetInParent()
    events = events_of(response)
    assert events is not None
    again = response_of(events)
    assert pb.CACHE_STATUS_HIT == again.started.cache_status
    again.started.cache_status = pb.CACHE_STATUS_UNSPECIFIED
    assert response == again


def test_a_stream_survives_as_a_whole_answer() -> None:
    """What Execute streamed can be had as one answer, unknown fields included."""
    beside = Struct()
    beside.update({"beside": 1})
    piece = pb.ExecuteResponse(
        delta=pb.Delta(
            parts=[content.Part(text="!")],
            role="model",
            finish_reason=content.FINISH_REASON_STOP,
            response_extra=beside,
        )
    )
    last = completed()
    last.completed.continuations = 2
    last.completed.warnings.add(code="CODE")
    events = record(started(), delta("hello"), piece, last)
    assert events is not None
    response = response_of([event.SerializeToString() for event in events])
    assert (2, ["CODE"]) == (
        response.continuations,
        [warning.code for warning in response.started.warnings],
    )
    (candidate,) = response.candidates
    assert ("hello!", "model", content.FINISH_REASON_STOP) == (
        candidate.content.parts[0].text,
        candidate.content.role,
        candidate.finish_reason,
    )
    assert (7, 1.0) == (response.usage.total_token_count, response.extra["beside"])


@pytest.mark.parametrize(
    "reason", [0, content.FINISH_REASON_MAX_TOKENS, content.FINISH_REASON_CONTINUATION]
)
def test_a_whole_answer_that_was_cut_is_not_kept(reason: Any) -> None:
    """A candidate that did not end by itself keeps the whole answer out."""
    response = answer_of()
    response.candidates[0].finish_reason = reason
    assert events_of(response) is None
