"""What the end of an answer tells of its way is the same in short as in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import AttemptRecord, Outcome
from gemini_backend.errors import UpstreamUnavailable
from gemini_backend.policies.outcome.end_report import end_in, end_of, put_end, whole_end_of

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn

KINDS = st.sampled_from([pb.ProcessResponse, pb.Completed])
SECONDS = st.one_of(st.floats(0, 10), st.just(0.0))


@st.composite
def records(draw: DrawFn) -> AttemptRecord:
    """Return an attempt of any kind."""
    started = draw(SECONDS)
    return AttemptRecord(
        draw(st.sampled_from(["", "models/a", "models/b"])),
        started,
        draw(st.one_of(st.none(), SECONDS.map(lambda seconds: started + seconds))),
        draw(st.sampled_from([None, None, UpstreamUnavailable("no")])),
        draw(st.sampled_from(["", "a1b2"])),
        draw(st.sampled_from([False, False, True])),
    )


@st.composite
def outcomes(draw: DrawFn) -> Outcome:
    """Return the outcome of an execution that went well in the end."""
    return Outcome(
        attempts=draw(st.lists(records(), max_size=3)),
        queued_seconds=draw(st.sampled_from([0.0, 0.0, 0.25])),
        first_token=draw(st.one_of(st.none(), SECONDS)),
    )


@given(KINDS, st.lists(outcomes(), min_size=1, max_size=4), SECONDS, SECONDS)
def test_the_short_way_tells_the_same(
    kind: Any, many: list[Outcome], arrived: float, now: float
) -> None:
    """Whatever the executions before it have told."""
    for outcome in many:
        expected = kind.FromString(whole_end_of(kind, outcome, arrived, now))
        assert expected == kind.FromString(end_of(kind, outcome, arrived, now))


@given(KINDS, outcomes(), SECONDS)
def test_an_answer_says_what_is_remembered(kind: Any, outcome: Outcome, now: float) -> None:
    """The bytes are those of the answer's own times and attempts; all else stays."""
    answer = kind()
    answer.usage.prompt_token_count = 7
    told = kind.FromString(put_end(answer, outcome, 0.0, now))
    assert kind.FromString(end_in(answer)) == told
    assert len(outcome.attempts) == len(answer.attempts)
    answer.ClearField("timing")
    answer.ClearField("attempts")
    assert kind(usage={"prompt_token_count": 7}) == answer


def test_what_an_answer_says_already_counts_as_well() -> None:
    """Its times are replaced, its attempts added to."""
    attempts = [details.Attempt(number=1, model="models/before")]
    answer = pb.Completed(timing={"queued": {"seconds": 9}}, attempts=attempts)
    outcome = Outcome(attempts=[AttemptRecord("models/a", 0.0, 1.0)])
    told = pb.Completed.FromString(put_end(answer, outcome, 0.0, 2.0))
    assert ["models/before", "models/a"] == [one.model for one in told.attempts]
    assert (0, 2) == (told.timing.queued.seconds, told.timing.total.seconds)
    assert (answer.timing, list(answer.attempts)) == (told.timing, list(told.attempts))
