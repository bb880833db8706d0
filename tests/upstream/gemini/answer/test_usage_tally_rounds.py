"""Counts that start again in mid-stream are added, and nothing is counted twice."""

from __future__ import annotations

from gemini.backend.v1 import content_pb2 as content
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.body.sse import EventReader
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.support.messages.recordings import Recording, parameters
from tests.support.messages.usage_reports import (
    CALL,
    CODE,
    ESTIMATED,
    EXACT,
    FOUND,
    FULL,
    RESULT,
    TEXT,
    completed,
    counts,
    used,
)


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


@parameters("streamGenerateContent")
def test_recorded_streams_have_used_what_gemini_said_last(recording: Recording) -> None:
    """Also those with rounds of tools: their last report is of all, and exact."""
    reader = EventReader(GeminiOptions().max_event_bytes)
    for merge in (False, True):
        answer = AnswerStream(recording.model, Failures(), merge=merge)
        answer.feed(reader.feed(recording.body))
        answer.feed(reader.finish())
        done = answer.finish()[-1].completed.usage
        last = [one["usageMetadata"] for one in recording.events][-1]
        assert [
            last.get(name, 0)
            for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
        ] == [done.prompt_token_count, done.candidates_token_count, done.thoughts_token_count]
        assert (last["totalTokenCount"], EXACT) == (done.total_token_count, done.quality)
