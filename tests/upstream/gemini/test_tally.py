"""What an answer has used in all: nothing that was counted is lost, nothing is counted twice."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import ServiceError
from gemini_backend.upstream.gemini import whole
from gemini_backend.upstream.gemini.answers import AnswerStream
from gemini_backend.upstream.gemini.failures import Failures
from gemini_backend.upstream.gemini.options import GeminiOptions
from gemini_backend.upstream.gemini.payloads import EventPayloads
from tests.support.recordings import Recording, parameters

EXACT, ESTIMATED = content.USAGE_QUALITY_EXACT, content.USAGE_QUALITY_ESTIMATED
TEXT = {"text": "some "}
CODE = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
RESULT = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
CALL = {"toolCall": {"toolType": "FILE_SEARCH", "args": {}}}
FOUND = {"toolResponse": {"toolType": "FILE_SEARCH", "response": {}}}


def counts(
    prompt: int | None = None,
    answer: int | None = None,
    thoughts: int | None = None,
    tools: int | None = None,
    total: int | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return usage as Gemini writes it, which adds up where no total is given."""
    parts = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": answer,
        "thoughtsTokenCount": thoughts,
        "toolUsePromptTokenCount": tools,
    }
    told = {name: value for name, value in parts.items() if value is not None}
    added = sum(told.values()) if total is None else total
    return {**told, "totalTokenCount": added, **more}


def events(*found: tuple[dict[str, Any], dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Return a stream's events, a part and its usage each; the last one has finished."""
    made = []
    for part, usage in found:
        one: dict[str, Any] = {
            "candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}],
            "modelVersion": "m-001",
        }
        if usage is not None:
            one["usageMetadata"] = usage
        made.append(one)
    made[-1]["candidates"][0]["finishReason"] = "STOP"
    return made


def completed(
    *found: tuple[dict[str, Any], dict[str, Any] | None], merge: bool = False
) -> pb.Completed:
    """Return the last event of a stream."""
    answer = AnswerStream("models/m", Failures(), merge=merge)
    answer.feed([json.dumps(one).encode() for one in events(*found)])
    assert answer.failure is None
    return answer.finish()[-1].completed


def used(
    *found: tuple[dict[str, Any], dict[str, Any] | None],
) -> tuple[int, int, int, int, int, int]:
    """Return prompt, answer, thoughts, tools, total, quality; the same however reads come."""
    both = {
        (
            done.usage.prompt_token_count,
            done.usage.candidates_token_count,
            done.usage.thoughts_token_count,
            done.usage.tool_use_prompt_token_count,
            done.usage.total_token_count,
            done.usage.quality,
        )
        for done in (completed(*found), completed(*found, merge=True))
    }
    assert 1 == len(both)
    return both.pop()


FULL = counts(100, 50, 20)


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


def test_rounds_are_added() -> None:
    """Code was run, the counts start again, and no report is of all: the parts are summed."""
    assert (100, 80, 30, 0, 210, ESTIMATED) == used(
        (CODE, FULL),
        (RESULT, counts(100)),
        (TEXT, counts(100, 5, 10)),
        (TEXT, counts(100, 30, 10)),
    )


def test_rounds_are_added_without_a_report_in_between() -> None:
    """Neither a report of the prompt alone nor thoughts are needed where a tool was run."""
    assert (100, 90, 0, 0, 190, ESTIMATED) == used(
        (CODE, counts(100, 50)), (RESULT, None), (TEXT, counts(100, 7)), (TEXT, counts(100, 40))
    )
    assert (100, 58, 0, 0, 158, ESTIMATED) == used(
        (CODE, counts(100, 8)), (RESULT, counts(100)), (TEXT, counts(100, 50))
    )


def test_counts_that_begin_far_below_have_started_again() -> None:
    """Less than half of all outputs is no correction, whatever it comes from."""
    assert (100, 90, 26, 0, 216, ESTIMATED) == used(
        (TEXT, FULL), (TEXT, counts(100, 10, 6)), (TEXT, counts(100, 40, 6))
    )


def test_a_last_report_of_all_rounds_is_not_added() -> None:
    """Gemini 3 closes with the sum: its prompt has grown by the thoughts of the first round."""
    assert (147, 108, 168, 360, 783, EXACT) == used(
        (CODE, counts(46, 51, 101)),
        (RESULT, counts(46)),
        (TEXT, counts(46, 22, 67)),
        (TEXT, counts(46, 57, 67)),
        (TEXT, counts(147, 108, 168, 360)),
    )


def test_a_last_report_of_all_rounds_may_have_no_larger_prompt() -> None:
    """The exact sum of thoughts, or of the answer when tools' tokens appear, is the sum."""
    assert (8, 122, 447, 0, 577, EXACT) == used(
        (CALL, counts(8, 20, 419)),
        (FOUND, counts(8)),
        (TEXT, counts(8, 102, 28)),
        (TEXT, counts(8, 122, 447)),
    )
    assert (8, 122, 0, 70, 200, EXACT) == used(
        (CALL, counts(8, 20)),
        (FOUND, counts(8)),
        (TEXT, counts(8, 102)),
        (TEXT, counts(8, 122, None, 70)),
    )


def test_a_last_report_of_less_than_all_rounds_takes_nothing_away() -> None:
    """It leaves out rounds, as was recorded: each count is at least the sum of the rounds."""
    assert (87, 36, 113, 0, 236, ESTIMATED) == used(
        (CALL, counts(9, 15, 78)),
        (FOUND, counts(9)),
        (TEXT, counts(9, 7, 35)),
        (TEXT, counts(9, 21, 35)),
        ({"text": ""}, counts(87, None, 78)),
    )


def test_a_larger_prompt_in_the_middle_is_no_last_report() -> None:
    """What was taken for one goes on: it was of that round, and the rounds are added."""
    assert (120, 90, 30, 0, 240, ESTIMATED) == used(
        (CODE, FULL),
        (RESULT, counts(100)),
        (TEXT, counts(100, 5, 10)),
        (TEXT, counts(120, 30, 10)),
        (TEXT, counts(120, 40, 10)),
    )


def test_three_rounds() -> None:
    """Each round that was counted for itself is added once."""
    assert (10, 30 + 20 + 7, 9 + 8 + 5, 0, 89, ESTIMATED) == used(
        (CODE, counts(10, 30, 9)),
        (RESULT, counts(10)),
        (CODE, counts(10, 20, 8)),
        (RESULT, counts(10)),
        (TEXT, counts(10, 7, 5)),
    )


def test_rounds_that_are_counted_through_are_not_added() -> None:
    """Gemini 2.5 counts on over a tool's run: the last report is of all."""
    assert (21, 126, 95, 243, 485, EXACT) == used(
        (TEXT, counts(21, 56, 95)),
        (CODE, counts(21, 112, 95)),
        (RESULT, counts(21, 112, 95)),
        (TEXT, counts(21, 116, 95, 243)),
        (TEXT, counts(21, 126, 95, 243)),
    )


def test_a_count_that_goes_down_a_little_is_not_added() -> None:
    """Without a tool's run it is a correction: the later one holds, and is doubtful."""
    assert (100, 30, 20, 0, 150, ESTIMATED) == used((TEXT, FULL), (TEXT, counts(100, 30, 20)))
    assert (100, 45, 0, 0, 145, ESTIMATED) == used((TEXT, counts(100, 50)), (TEXT, counts(100, 45)))


def test_a_report_of_the_prompt_alone_starts_nothing_again() -> None:
    """Where the counts go on above what they were, and no tool was run, it was a gap."""
    assert (100, 55, 20, 0, 175, EXACT) == used(
        (TEXT, FULL), (TEXT, counts(100)), (TEXT, counts(100, 55, 20))
    )


def test_kinds_of_medium_are_those_of_all_rounds() -> None:
    """A picture of the first round is still there, and has its price, after the second."""
    picture = [{"modality": "IMAGE", "tokenCount": 40}]
    words = [{"modality": "TEXT", "tokenCount": 30}]
    done = completed(
        (CODE, counts(100, 40, candidatesTokensDetails=picture)),
        (RESULT, counts(100)),
        (TEXT, counts(100, 30, candidatesTokensDetails=words)),
    ).usage
    assert [(content.MODALITY_IMAGE, 40), (content.MODALITY_TEXT, 30)] == [
        (one.modality, one.token_count) for one in done.candidates_tokens_details
    ]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (counts(100, total=180), (100, 80, 0, 0, 180)),
        (counts(100, 50, total=180), (100, 50, 30, 0, 180)),
        (counts(100, None, 20, total=180), (100, 60, 20, 0, 180)),
        ({"candidatesTokenCount": 50, "totalTokenCount": 180}, (130, 50, 0, 0, 180)),
        (counts(100, 50, 20, total=180), (100, 50, 20, 0, 180)),
        (counts(100, 50, 20, total=90), (100, 50, 20, 0, 170)),
        (
            counts(100, candidatesTokensDetails=[{"modality": "TEXT", "tokenCount": 9}]),
            (100, 9, 0, 0, 109),
        ),
    ],
)
def test_what_a_total_has_beyond_its_parts_is_what_is_missing(
    told: dict[str, Any], expected: tuple[int, ...]
) -> None:
    """The prompt, else the answer, else the thoughts; a total below its parts is their sum."""
    assert (*expected, ESTIMATED) == used((TEXT, told))


@pytest.mark.parametrize(
    "told",
    [
        counts(100),
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
    """No count of what was said, no prompt, more cached or by kinds than in all, unreadable."""
    assert ESTIMATED == used((TEXT, told))[-1]


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
    """What is missing is derived, what is odd is read and kept, and the quality says so."""
    body = events((TEXT, {"promptTokenCount": "100", "totalTokenCount": 180.0}))[0]
    answer = whole.response(json.dumps(body).encode(), "models/m", Failures())
    assert (100, 80, 180, ESTIMATED) == (
        answer.usage.prompt_token_count,
        answer.usage.candidates_token_count,
        answer.usage.total_token_count,
        answer.usage.quality,
    )
    assert {"promptTokenCount": "100", "totalTokenCount": 180.0} == dict(answer.usage.extra.items())


@parameters("streamGenerateContent")
def test_recorded_streams_have_used_what_gemini_said_last(recording: Recording) -> None:
    """Also those with rounds of tools: their last report is of all, and exact."""
    payloads = EventPayloads(GeminiOptions())
    for merge in (False, True):
        answer = AnswerStream(recording.model, Failures(), merge=merge)
        answer.feed(payloads.feed(recording.body))
        answer.feed(payloads.finish())
        done = answer.finish()[-1].completed.usage
        last = [one["usageMetadata"] for one in recording.events][-1]
        assert [
            last.get(name, 0)
            for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
        ] == [done.prompt_token_count, done.candidates_token_count, done.thoughts_token_count]
        assert (last["totalTokenCount"], EXACT) == (done.total_token_count, done.quality)
