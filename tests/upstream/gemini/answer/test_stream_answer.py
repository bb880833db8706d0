"""What becomes of an answer: deltas, an end, or a failure that says what it was.

Covers: upstream/gemini/answer/outcome.py, upstream/gemini/answer/untyped_answer.py
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import (
    AnswerBlocked,
    EmptyAnswer,
    MalformedAnswer,
    PromptBlocked,
    ServiceError,
    StreamCut,
    Throttled,
    UpstreamUnavailable,
)
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures
from tests.support.messages import gemini_json

HEAD = {"modelVersion": "m-001", "responseId": "r1"}
USAGE = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}


def event(text: str | None = None, **candidate: Any) -> dict[str, Any]:
    """Return an event with one candidate."""
    if text is not None:
        candidate = {"content": {"parts": [{"text": text}], "role": "model"}, **candidate}
    return {"candidates": [candidate], "usageMetadata": USAGE, **HEAD}


def run(
    *events: dict[str, Any], merge: bool = False
) -> tuple[list[pb.ExecuteResponse], ServiceError | None]:
    """Feed all events at once; return what comes out and what it fails with."""
    answer = AnswerStream("models/m", Failures(), merge=merge)
    out = answer.feed([json.dumps(found).encode() for found in events])
    if answer.failure is not None:
        return out, answer.failure
    try:
        return out + answer.finish(), None
    except ServiceError as error:
        return out, error


def kinds(events: list[pb.ExecuteResponse]) -> list[str | None]:
    """Return what each event is."""
    return [found.WhichOneof("event") for found in events]


def texts(events: list[pb.ExecuteResponse]) -> list[str]:
    """Return the texts of each delta, joined."""
    return ["".join(p.text for p in e.delta.parts) for e in events if e.HasField("delta")]


@pytest.mark.parametrize("usage", [None, {}, {"candidatesTokenCount": 0}, USAGE])
@pytest.mark.parametrize("index", [None, 0, 1])
@pytest.mark.parametrize("role", [None, "model", "user"])
def test_a_further_text_has_all_that_came_with_it(
    usage: dict[str, Any] | None, index: int | None, role: str | None
) -> None:
    """What the first text of a candidate is read to, the next one is read to as well."""
    candidate: dict[str, Any] = {"content": {"parts": [{"text": "a"}]}}
    if index is not None:
        candidate["index"] = index
    if role is not None:
        candidate["content"]["role"] = role
    found = {"candidates": [candidate], **HEAD}
    if usage is not None:
        found["usageMetadata"] = usage
    (_, first, further), _ = run(found, found)
    first.delta.upstream_event = 2
    assert first == further


def test_a_whole_answer() -> None:
    """Started with the version, deltas with usage, completed with the reason and exact usage."""
    events, error = run(event("a"), event("b", finishReason="STOP"))
    assert error is None
    assert ["started", "delta", "delta", "completed"] == kinds(events)
    assert ("models/m", "models/m", "m-001", "r1") == (
        events[0].started.model,
        events[0].started.served_model,
        events[0].started.model_version,
        events[0].started.response_id,
    )
    assert [1, 2] == [e.delta.upstream_event for e in events[1:3]]
    done = events[-1].completed
    assert content.FINISH_REASON_STOP == done.finish_reason
    assert (5, content.USAGE_QUALITY_EXACT) == (done.usage.total_token_count, done.usage.quality)


def test_nothing_starts_before_something_is_said() -> None:
    """Empty pieces and bare usage are held back, and come in order once a thought is there."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    usage = json.dumps({"usageMetadata": USAGE, **HEAD}).encode()
    assert [] == answer.feed([usage])
    assert [] == answer.feed([json.dumps(event("")).encode()])
    thought = event(content={"parts": [{"text": "hm", "thought": True}], "role": "model"})
    events = answer.feed([json.dumps(thought).encode()])
    assert ["started", "usage", "delta", "delta"] == kinds(events)


def test_what_is_held_back_is_bounded() -> None:
    """More than 1,024 pieces in a row that say nothing are no answer, and nobody sees them."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    empty = json.dumps(event("")).encode()
    assert [] == answer.feed([empty] * 1024)
    assert answer.failure is None
    assert [] == answer.feed([empty])
    assert isinstance(answer.failure, MalformedAnswer)


def test_what_says_nothing_waits_for_what_does_also_in_mid_answer() -> None:
    """So a flood of it never looks like an answer that goes on; nothing of it is lost."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    said, empty = (json.dumps(event(text)).encode() for text in ("a", ""))
    assert ["started", "delta"] == kinds(answer.feed([said]))
    assert [] == answer.feed([empty] * 3)
    assert ["delta"] * 4 == kinds(answer.feed([said]))


def test_counts_that_come_alone_replace_each_other() -> None:
    """However many of them come, the latest one is told before the next piece."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    counts = [json.dumps({"usageMetadata": {"totalTokenCount": n}}).encode() for n in range(5000)]
    assert [] == answer.feed(counts)
    told = answer.feed([json.dumps(event("a")).encode()])
    assert ["started", "usage", "delta"] == kinds(told)
    assert 4999 == told[1].usage.total_token_count


def test_a_finish_reason_in_mid_answer_is_told_at_once() -> None:
    """A caller may act on it, though the body has not ended; but not a flood of them."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    answer.feed([json.dumps(event("a")).encode()])
    finish = json.dumps(event("", finishReason="STOP")).encode()
    assert [1] * 16 + [0] * 4 == [len(answer.feed([finish])) for _ in range(20)]


@pytest.mark.parametrize(
    "flood",
    [
        {"candidates": [{"content": {"parts": [{"text": "n"}]}, "index": n} for n in range(257)]},
        {"candidates": [{"content": {"parts": [{"text": "n"}] * 16_385}}]},
        {"candidates": [{"content": {"parts": [{"text": "n", "x": 1}] * 16_385}}]},
    ],
    ids=["candidates", "parts", "odd parts"],
)
def test_an_event_of_too_much_is_malformed(flood: dict[str, Any]) -> None:
    """No model gives so many candidates, or parts at once; nothing of it is delivered."""
    events, error = run(flood)
    assert [] == events
    assert isinstance(error, MalformedAnswer)
    with pytest.raises(MalformedAnswer):
        unary_answer.response(json.dumps(flood).encode(), "models/m", Failures())


def test_candidates_that_come_one_by_one_are_bounded_as_well() -> None:
    """What is known of each candidate takes room until the answer ends."""
    pieces = [event("n", index=n) for n in range(257)]
    events, error = run(*pieces)
    assert isinstance(error, MalformedAnswer)
    assert 1 + 256 == len(events)


@pytest.mark.parametrize("feedback", [{"blockReason": "SAFETY"}, {"blockReason": "NEW_REASON"}])
def test_a_blocked_prompt_is_a_failure_with_its_reason(feedback: dict[str, Any]) -> None:
    """Known or not, the reason arrives, with the usage."""
    events, error = run({"promptFeedback": feedback, "usageMetadata": USAGE, **HEAD})
    assert [] == events
    assert isinstance(error, PromptBlocked)
    assert error.failure is not None
    assert feedback["blockReason"] in error.message
    assert {"promptFeedback": feedback, "usageMetadata": USAGE, **HEAD} == gemini_json.of_failure(
        error
    )


def test_a_prompt_blocked_in_mid_answer_is_a_failure_too() -> None:
    """What had come is delivered, then the failure."""
    events, error = run(event("a"), {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    assert ["started", "delta"] == kinds(events)
    assert isinstance(error, PromptBlocked)


@pytest.mark.parametrize(
    "reason",
    ["SAFETY", "RECITATION", "MALFORMED_FUNCTION_CALL", "LANGUAGE", "SOMETHING_NEW"],
)
@pytest.mark.parametrize("turn", [None, {}, {"role": "model"}, {"parts": [{"text": ""}]}])
def test_an_answer_that_was_stopped_without_content_keeps_its_reason(
    reason: str, turn: dict[str, Any] | None
) -> None:
    """It fails with Gemini's reason, and can be rebuilt from the failure."""
    candidate: dict[str, Any] = {"finishReason": reason, "finishMessage": "why"}
    if turn is not None:
        candidate["content"] = turn
    events, error = run(event(**candidate))
    assert [] == events
    assert isinstance(error, AnswerBlocked)
    assert reason in error.message
    assert event(**candidate) == gemini_json.of_failure(error)
    with pytest.raises(AnswerBlocked):
        unary_answer.response(json.dumps(event(**candidate)).encode(), "models/m", Failures())


@pytest.mark.parametrize("text", [None, ""])
def test_an_answer_that_says_nothing_is_no_success(text: str | None) -> None:
    """STOP without content is empty, and worth another try."""
    events, error = run(event(text, finishReason="STOP"))
    assert [] == events
    assert isinstance(error, EmptyAnswer)
    assert error.retryable
    with pytest.raises(EmptyAnswer):
        unary_answer.response(
            json.dumps(event(text, finishReason="STOP")).encode(), "models/m", Failures()
        )


def test_thoughts_alone_are_no_answer() -> None:
    """They are delivered, and then the answer fails as empty."""
    parts = [{"text": "hm", "thought": True}]
    events, error = run(event(content={"parts": parts}), event("", finishReason="STOP"))
    assert ["started", "delta", "delta"] == kinds(events)
    assert isinstance(error, EmptyAnswer)


def test_all_tokens_spent_on_thinking_is_a_legitimate_end() -> None:
    """MAX_TOKENS without content ends well, with its reason."""
    events, error = run(event(content={"role": "model"}, finishReason="MAX_TOKENS"))
    assert error is None
    assert ["started", "delta", "completed"] == kinds(events)
    assert content.FINISH_REASON_MAX_TOKENS == events[-1].completed.finish_reason


def test_a_partial_answer_that_was_stopped_ends_with_the_reason() -> None:
    """What was said counts; completed names Gemini's reason."""
    events, error = run(event("a"), event(finishReason="SAFETY"))
    assert error is None
    assert content.FINISH_REASON_SAFETY == events[-1].completed.finish_reason


def test_an_unknown_finish_reason_passes_through() -> None:
    """The enum says unspecified, the twin says what came."""
    events, error = run(event("a", finishReason="FUNCTION_CALL"))
    assert error is None
    assert (0, "FUNCTION_CALL") == (
        events[-1].completed.finish_reason,
        events[-1].completed.finish_reason_raw,
    )


@pytest.mark.parametrize("events", [[event("a")], [event("")]])
def test_a_stream_without_an_end_is_cut(events: list[dict[str, Any]]) -> None:
    """Without a finish reason the answer is not whole, whatever had come; the usage is told."""
    _, error = run(*events)
    assert isinstance(error, StreamCut)
    assert error.failure is not None
    assert content.USAGE_QUALITY_ESTIMATED == error.failure.usage.quality


def test_one_of_two_candidates_unfinished_is_cut() -> None:
    """All candidates that began must have ended."""
    _, error = run(event("a", finishReason="STOP"), event("b", index=1))
    assert isinstance(error, StreamCut)


@pytest.mark.parametrize("events", [[], [{}], [{"usageMetadata": USAGE, **HEAD}]])
def test_a_stream_without_any_candidate_is_empty(events: list[dict[str, Any]]) -> None:
    """200 with nothing in it, or nothing but numbers, is no answer."""
    assert isinstance(run(*events)[1], EmptyAnswer)


@pytest.mark.parametrize(
    ("code", "kind"), [(503, UpstreamUnavailable), (429, Throttled), (None, UpstreamUnavailable)]
)
def test_an_error_inside_the_stream(code: int | None, kind: type[ServiceError]) -> None:
    """It is the same error as with that status; what had come before is delivered."""
    body = {"code": code, "message": "no", "status": "X"} if code else {"message": "no"}
    events, error = run(event("a"), {"error": body})
    assert ["started", "delta"] == kinds(events)
    assert isinstance(error, kind)
    assert error.upstream is not None
    assert 200 == error.upstream.http_status
    assert error.failure is not None
    assert 5 == error.failure.usage.total_token_count


def test_broken_json_is_malformed() -> None:
    """Without repeating what it says."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    answer.feed([b'{"candidates": [{"content": "my secret'])
    assert isinstance(answer.failure, MalformedAnswer)
    assert "secret" not in answer.failure.message


def test_texts_that_arrive_together_become_one() -> None:
    """The last usage and event number count; a finishing event is merged too."""
    events, error = run(event("a"), event("b"), event("c", finishReason="STOP"), merge=True)
    assert error is None
    assert ["started", "delta", "completed"] == kinds(events)
    delta = events[1].delta
    assert ("abc", 3, content.FINISH_REASON_STOP) == (
        delta.parts[0].text,
        delta.upstream_event,
        delta.finish_reason,
    )
    assert 1 == len(delta.parts)


def test_only_plain_text_of_one_kind_is_merged() -> None:
    """Thoughts, signatures, other candidates and grounding stand by themselves."""
    thought = event(content={"parts": [{"text": "t", "thought": True}], "role": "model"})
    signed = event(content={"parts": [{"text": "s", "thoughtSignature": "AAAA"}], "role": "model"})
    grounded = event("g", groundingMetadata={"webSearchQueries": ["q"]})
    other = event("o", index=1)
    events, _ = run(
        thought, event("a"), event("b"), signed, grounded, other, event("z"), merge=True
    )
    assert ["t", "ab", "s", "g", "o", "z"] == texts(events)
    assert [1, 3, 4, 5, 6, 7] == [e.delta.upstream_event for e in events if e.HasField("delta")]


def test_several_candidates_share_an_event() -> None:
    """Each gets a delta; the usage stands on the first."""
    both = event("a", index=0)
    both["candidates"].append({"content": {"parts": [{"text": "b"}]}, "index": 1})
    events, _ = run(both)
    assert [(0, 1, True), (1, 1, False)] == [
        (e.delta.candidate_index, e.delta.upstream_event, e.delta.HasField("usage"))
        for e in events[1:]
    ]
