"""What an answer has used in all: no count is lost, and what is doubtful is said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.errors import ServiceError
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.answer.usage import COUNTS
from gemini_backend.upstream.gemini.failure.classification import Failures
from tests.support.messages.gemini_json import camel
from tests.support.messages.usage_reports import (
    CODE,
    ESTIMATED,
    EXACT,
    FULL,
    RESULT,
    TEXT,
    completed,
    counts,
    events,
    used,
)


@pytest.mark.parametrize(
    "last",
    [
        {"trafficType": "ON_DEMAND"},
        {},
        None,
        counts(0, 0, 0),
        counts(100, 0, total=170),
        counts(100, total=170),
        {"candidatesTokenCount": 0},
    ],
)
def test_what_a_last_report_leaves_out_stays(last: dict[str, Any] | None) -> None:
    """A closing event with other fields, with zeros, with nothing wipes no count."""
    closing: dict[str, Any] = {"text": ""}
    assert (100, 50, 20, 0, 170, EXACT) == used((TEXT, FULL), (closing, last))


@pytest.mark.parametrize("count", ["-7", "many", "1e2", 60.5, True, [60], 2**31, 1e300, -7])
@pytest.mark.parametrize(
    "name", ["candidatesTokenCount", "totalTokenCount", "thoughts_token_count"]
)
def test_a_count_that_cannot_be_read_is_doubtful_whatever_was_said_before(
    name: str, count: Any
) -> None:
    """The last count that could be read holds, and is no longer exact; a later one settles it."""
    others = {key: value for key, value in FULL.items() if key != camel(name)}
    closing = {"text": ""}
    odd = {**others, name: count}
    assert (100, 50, 20, 0, 170, ESTIMATED) == used((TEXT, FULL), (closing, odd))
    assert (100, 50, 20, 0, 170, ESTIMATED) == used((TEXT, odd), (TEXT, FULL), (closing, odd))
    assert (100, 50, 20, 0, 170, EXACT) == used((TEXT, odd), (closing, FULL))
    assert (100, 50, 20, 0, 170, EXACT) == used((TEXT, FULL), (TEXT, odd), (closing, FULL))


def test_what_only_one_report_says_is_kept() -> None:
    """Kinds of medium, cached tokens, tier and traffic, what has no name: each where it came."""
    kinds = [{"modality": "TEXT", "tokenCount": 100}]
    early = counts(100, 5, promptTokensDetails=kinds, cachedContentTokenCount=40, first=1)
    late = counts(100, 9, serviceTier="flex", trafficType="ON_DEMAND", second=2)
    done = completed((TEXT, early), (TEXT, late)).usage
    assert (40, 9, content.SERVICE_TIER_FLEX, content.TRAFFIC_TYPE_ON_DEMAND) == (
        done.cached_content_token_count,
        done.candidates_token_count,
        done.service_tier,
        done.traffic_type,
    )
    assert [100] == [one.token_count for one in done.prompt_tokens_details]
    assert {"first": 1, "second": 2} == dict(done.extra.items()) == json.loads(done.extra_json)


def test_later_counts_win() -> None:
    """Counts are cumulative; a prompt may be counted anew, and then be less."""
    assert (79, 12, 0, 0, 91, EXACT) == used((TEXT, counts(169)), (TEXT, counts(79, 12)))


def test_something_said_after_the_last_count_is_doubtful() -> None:
    """The last known counts hold, and are no longer exact."""
    less = counts(100, 40, 20)
    for last in (None, {}, {"trafficType": "ON_DEMAND"}, {"novel": 1}):
        for before in ((), ((TEXT, less),)):
            told = used(*before, (TEXT, FULL), (TEXT, last))
            assert (100, 50, 20, 0, 170, ESTIMATED) == told


@pytest.mark.parametrize(
    "told",
    [
        counts(100),
        counts(100, total=180),
        counts(100, 50, total=180),
        counts(100, 50, 20, total=180),
        counts(100, 50, 20, total=90),
        counts(100, candidatesTokensDetails=[{"modality": "TEXT", "tokenCount": 9}]),
        {"candidatesTokenCount": 5},
        {"trafficType": "ON_DEMAND"},
        {},
        counts(100, 5, cachedContentTokenCount=101),
        counts(100, 5, promptTokensDetails=[{"modality": "AUDIO", "tokenCount": 101}]),
        counts(100, 5, candidatesTokensDetails=[{"modality": "TEXT", "tokenCount": 3}] * 2),
        counts(100, 5, total=105, thoughtsTokenCount="some"),
        counts(100, 5, total=105, thoughtsTokenCount=-1),
        counts(100, 5, total=105, thoughtsTokenCount=2**31),
    ],
)
def test_what_does_not_add_up_is_estimated(told: dict[str, Any]) -> None:
    """Too much, too little or unreadable; and no count is made up that no report gives."""
    assert ESTIMATED == used((TEXT, told))[-1]
    usage = completed((TEXT, told)).usage
    absent = [one for one in COUNTS if camel(one) not in told]
    assert not [name for name in absent if usage.HasField(name)]  # type: ignore[arg-type]


def test_no_usage_is_told_as_none() -> None:
    """Where Gemini reports nothing there is nothing here either, and so nothing exact."""
    assert not completed((TEXT, None)).HasField("usage")


@pytest.mark.parametrize(
    "told",
    [
        counts(100, 5),
        counts(100, 5, 7, 20, cachedContentTokenCount=90),
        counts(100, 5, candidatesTokensDetails=[{"modality": "TEXT"}]),
        counts(100, 5, promptTokensDetails=[{"modality": "IMAGE", "tokenCount": 60}]),
        {"promptTokenCount": 100, "candidatesTokenCount": 5},
    ],
)
def test_what_adds_up_is_exact(told: dict[str, Any]) -> None:
    """Also without a total, and where kinds of medium leave out the rest, which is text."""
    assert EXACT == used((TEXT, told))[-1]


def test_failures_tell_what_was_used() -> None:
    """A stream that is cut has what all its events said, estimated; a blocked answer exactly."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    found = events((CODE, FULL), (RESULT, counts(100)), (TEXT, counts(100, 5, 10)))
    answer.feed([json.dumps(one).encode() for one in found])
    cut = answer.failed(ServiceError("cut")).failure
    assert cut is not None
    assert (55, 30, ESTIMATED) == (
        cut.usage.candidates_token_count,
        cut.usage.thoughts_token_count,
        cut.usage.quality,
    )
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": counts(100)}
    answer = AnswerStream("models/m", Failures(), merge=False)
    answer.feed([json.dumps(blocked).encode()])
    assert answer.failure is not None
    assert answer.failure.failure is not None
    assert (100, EXACT) == (
        answer.failure.failure.usage.prompt_token_count,
        answer.failure.failure.usage.quality,
    )


def test_an_error_between_events_tells_what_was_used() -> None:
    """Its own counts come on top of what the events before it had."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    (before,) = events((TEXT, counts(100, 5)))
    error = {"error": {"code": 503, "status": "UNAVAILABLE"}, "usageMetadata": counts(100, 9)}
    answer.feed([json.dumps(before).encode(), json.dumps(error).encode()])
    assert answer.failure is not None
    assert answer.failure.failure is not None
    used = answer.failure.failure.usage
    assert (9, ESTIMATED) == (used.candidates_token_count, used.quality)


def test_deltas_tell_what_was_reported() -> None:
    """Only `completed` adds up: each delta has the counts that came with it, as they came."""
    answer = AnswerStream("models/m", Failures(), merge=False)
    found = events(
        (CODE, FULL), (RESULT, {"trafficType": "X"}), (TEXT, counts(100, 5, thoughtsTokenCount="9"))
    )
    deltas = [one.delta for one in answer.feed([json.dumps(o).encode() for o in found])[1:]]
    assert [(50, ""), (0, "X"), (5, "")] == [
        (one.usage.candidates_token_count, one.usage.traffic_type_raw) for one in deltas
    ]
    assert not deltas[2].usage.HasField("thoughts_token_count")
    assert {"thoughtsTokenCount": "9"} == dict(deltas[2].usage.extra.items())
    assert 29 == answer.finish()[-1].completed.usage.thoughts_token_count


def test_an_answer_in_one_body_goes_by_the_same_rules() -> None:
    """What is odd is read and kept, what is missing is not made up, and the quality says so."""
    body = events((TEXT, {"promptTokenCount": "100", "totalTokenCount": 180.0}))[0]
    answer = unary_answer.response(json.dumps(body).encode(), "models/m", Failures())
    assert (100, False, 180, ESTIMATED) == (
        answer.usage.prompt_token_count,
        answer.usage.HasField("candidates_token_count"),
        answer.usage.total_token_count,
        answer.usage.quality,
    )
    kept = {"promptTokenCount": "100", "totalTokenCount": 180.0}
    assert kept == json.loads(answer.usage.extra_json)
