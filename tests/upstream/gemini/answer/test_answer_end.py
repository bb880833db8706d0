"""When an answer is whole: by the end of its body, and by signs where that does not come."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.errors import MalformedAnswer, ServiceError, StreamCut, UpstreamUnavailable
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures
from tests.upstream.gemini.answer.test_stream_answer import event, run, texts

if TYPE_CHECKING:
    from gemini.backend.v1 import execute_service_pb2 as pb

STOP = {"finishReason": "STOP"}
COUNTS = {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}
CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
RESULT = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
EXACT, ESTIMATED = content.USAGE_QUALITY_EXACT, content.USAGE_QUALITY_ESTIMATED


def parts(*found: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an event with these parts."""
    return event(content={"parts": list(found), "role": "model"}, **more)


def end(**more: Any) -> dict[str, Any]:
    """Return a last event with counts."""
    return {**event("", **STOP), "usageMetadata": COUNTS, **more}


def uncounted(found: dict[str, Any]) -> dict[str, Any]:
    """Return an event without counts of tokens."""
    return {name: value for name, value in found.items() if name != "usageMetadata"}


def cut_after(
    *payloads: dict[str, Any] | bytes,
) -> tuple[list[pb.ExecuteResponse], ServiceError | None]:
    """Feed events, then cut the body between two of them; return what comes of it."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    out = []
    for found in payloads:
        out += answer.feed([found if isinstance(found, bytes) else json.dumps(found).encode()])
        assert answer.failure is None
    try:
        return out + answer.finish(StreamCut("cut")), None
    except ServiceError as error:
        return out, error


TOOL_ROUND = (
    event("Let me see. "),
    parts(CODE, **STOP),
    parts(RESULT),
    event("Two."),
    event("", finishReason="MAX_TOKENS"),
)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(
    ("events", "text", "reason"),
    [
        (TOOL_ROUND, "Let me see. Two.", "MAX_TOKENS"),
        ((event("one ", **STOP), event("two", **STOP)), "one two", "STOP"),
        ((parts(**STOP), event("whole"), event(**STOP)), "whole", "STOP"),
        (
            (event("a", finishReason="FINISH_REASON_UNSPECIFIED"), event("b", **STOP)),
            "ab",
            "STOP",
        ),
        ((event("a", finishReason="MAX_TOKENS"), event("b", **STOP)), "ab", "STOP"),
        ((event("a", **STOP), event("b", index=1, finishReason="SAFETY")), "ab", "STOP"),
    ],
)
def test_a_finish_reason_is_no_end(
    events: tuple[dict[str, Any], ...], text: str, reason: str, *, merge: bool
) -> None:
    """What follows it arrives; `completed` has the last one of the first candidate."""
    found, error = run(*events, merge=merge)
    assert error is None
    assert text == "".join(texts(found))
    name = content.FinishReason.Name(found[-1].completed.finish_reason)
    assert reason == name.removeprefix("FINISH_REASON_")
    assert EXACT == found[-1].completed.usage.quality


def test_a_reason_in_mid_answer_is_handed_on_as_it_came() -> None:
    """On the delta that it came with."""
    found, _ = run(*TOOL_ROUND)
    reasons = [e.delta.finish_reason for e in found if e.HasField("delta")]
    stop, most = content.FINISH_REASON_STOP, content.FINISH_REASON_MAX_TOKENS
    assert [0, stop, 0, 0, most] == reasons


@pytest.mark.parametrize(
    "events",
    [
        (event("a", finishReason="FINISH_REASON_UNSPECIFIED"),),
        (event("a", finishReason=""),),
        (event("a", finishReason=0),),
        (event("a", **STOP), event("b")),
        (parts(CODE, **STOP), parts(RESULT)),
        (event("a", **STOP), event("b", index=1)),
    ],
)
def test_what_comes_after_the_last_finish_reason_has_no_end(events: Any) -> None:
    """A body that ends there, cleanly or not, is a cut stream."""
    assert isinstance(run(*events)[1], StreamCut)
    assert isinstance(cut_after(*events)[1], StreamCut)


@pytest.mark.parametrize(
    "late",
    [
        {"usageMetadata": COUNTS},
        event(groundingMetadata={"webSearchQueries": ["q"]}),
        event(""),
        parts({"text": "", "thoughtSignature": "AAAA"}),
    ],
)
def test_what_says_nothing_may_follow_the_last_finish_reason(late: dict[str, Any]) -> None:
    """Counts, sources and signatures come late; the answer is whole and exact, and has them."""
    found, error = run(event("a", **STOP), late)
    assert error is None
    assert EXACT == found[-1].completed.usage.quality


@pytest.mark.parametrize(
    ("reason", "raw"), [("stop", "stop"), (1, "1"), ({"x": 1}, '{"x":1}'), ("NEW", "NEW")]
)
def test_a_strange_finish_reason_is_one(reason: Any, raw: str) -> None:
    """It comes as the text, or the JSON, that it was."""
    found, error = run(event("a", finishReason=reason))
    assert error is None
    done = found[-1].completed
    assert (0, raw) == (done.finish_reason, done.finish_reason_raw)


@pytest.mark.parametrize(
    "events",
    [
        (event("a"), end()),
        (event("a"), uncounted(event("b", **STOP)), {"usageMetadata": COUNTS}),
        (event("a"), event("b", index=1, **STOP), end()),
        (*TOOL_ROUND[:-1], end()),
    ],
)
def test_a_cut_between_events_after_a_last_word_leaves_the_answer(events: Any) -> None:
    """All signs say that it is whole: it completes, with a warning, and an estimate of usage."""
    found, error = cut_after(*events)
    assert error is None
    done = found[-1].completed
    assert ESTIMATED == done.usage.quality
    assert ["END_NOT_SEEN"] == [warning.code for warning in done.warnings]


@pytest.mark.parametrize(
    "events",
    [
        (event("one ", **STOP), end()),
        (event("one ", **STOP), event("two ", **STOP)),
        (uncounted(event("one", **STOP)),),
        (parts(CODE), parts(RESULT, **STOP)),
        (event("a"), parts(CODE, **STOP)),
        (event("a", **STOP), event("b", index=1)),
        (event("a", **STOP), {**end(), "usageMetadata": {}}),
        (event("a"), {**event("", **STOP), "usageMetadata": {"trafficType": "ON_DEMAND"}}),
        (parts({"toolCall": {"toolType": "X"}}, **STOP),),
    ],
)
def test_a_cut_where_any_sign_is_missing_is_a_failure(events: Any) -> None:
    """More than one finish reason, a tool's step last, no counts, another candidate under way."""
    found, error = cut_after(*events)
    assert isinstance(error, StreamCut)
    assert all(not e.HasField("completed") for e in found)
    assert error.failure is not None
    assert ESTIMATED == error.failure.usage.quality or not error.failure.HasField("usage")


def test_an_answer_that_says_it_is_done_needs_no_other_end() -> None:
    """`[DONE]` is what some servers end their streams with."""
    found, error = cut_after(event("a", **STOP), event("b", **STOP), b"[DONE]")
    assert error is None
    assert EXACT == found[-1].completed.usage.quality
    assert [] == list(found[-1].completed.warnings)
    assert isinstance(cut_after(event("a", **STOP), b"[DONE]", event("b", **STOP))[1], StreamCut)
    assert isinstance(cut_after(event("a"), b"[DONE]")[1], StreamCut)


HARMLESS = [b"[DONE]", b"DONE", b"null", b"[]", b"{}", b" ", b"[null]"]


@pytest.mark.parametrize("payload", HARMLESS)
def test_what_holds_nothing_changes_nothing(payload: bytes) -> None:
    """Before, within and after an answer, whatever keeps a connection alive."""
    whole = [json.dumps(found).encode() for found in (event("a"), event("b", **STOP))]
    for at in range(3):
        answer = AnswerStream("models/m", Failures(), merge=True)
        out = answer.feed([*whole[:at], payload, *whole[at:]])
        assert answer.failure is None
        out += answer.finish()
        assert "ab" == "".join(texts(out))
        assert [] == list(out[-1].completed.warnings)


@pytest.mark.parametrize(
    "junk", [b"done", b"<!-- served by x -->", b"\0\0\0", b'{"candid', b"[1]", b'"text"', b"\xff"]
)
def test_what_cannot_be_read_after_a_whole_answer_does_not_fail_it(junk: bytes) -> None:
    """It completes, exact, and the caller is warned; in its middle it is malformed."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    out = answer.feed([json.dumps(found).encode() for found in (event("a"), end())])
    out += answer.feed([junk])
    assert answer.failure is None
    done = answer.finish()[-1].completed
    assert EXACT == done.usage.quality
    assert ["TRAILING_DATA"] == [warning.code for warning in done.warnings]
    middle = AnswerStream("models/m", Failures(), merge=False)
    assert "a" == "".join(texts(middle.feed([json.dumps(event("a")).encode(), junk])))
    assert isinstance(middle.failure, MalformedAnswer)


@pytest.mark.parametrize(
    "events",
    [
        [event("a", **STOP), b"junk", end(candidates=event("b", **STOP)["candidates"])],
        [event("a", **STOP), event("b", **STOP), b"junk"],
        [event("a"), end(), b'{"candidates": [{"conte'],
    ],
)
def test_what_cannot_be_read_may_be_a_piece_of_the_answer(events: list[Any]) -> None:
    """Where more follows it, where the end is not certain, where it looks like one."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    for found in events:
        answer.feed([found if isinstance(found, bytes) else json.dumps(found).encode()])
    if answer.failure is None:
        with pytest.raises(MalformedAnswer):
            answer.finish()
    else:
        assert isinstance(answer.failure, MalformedAnswer)


def test_an_error_after_a_whole_answer_is_told_as_what_it_is() -> None:
    """What was said has been delivered; no status of Gemini's becomes INTERNAL."""
    error = {"error": {"code": 500, "message": "x", "status": "INTERNAL"}}
    found, failure = run(event("a"), end(), error)
    assert "a" == "".join(texts(found))
    assert isinstance(failure, UpstreamUnavailable)


def test_an_error_that_is_null_is_none() -> None:
    """As every other field."""
    found, failure = run({**event("a", **STOP), "error": None})
    assert failure is None
    assert ["a"] == texts(found)
