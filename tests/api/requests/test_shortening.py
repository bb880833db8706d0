"""A status that is too large is shortened in a written order.

Covers: api/requests/draft.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, Help, QuotaFailure, RetryInfo
from hypothesis import given, settings
from hypothesis import strategies as st

from gemini.backend.v1.content_pb2 import (
    BLOCK_REASON_SAFETY,
    Candidate,
    Content,
    Cost,
    ModalityTokenCount,
    Part,
    PromptFeedback,
    SafetyRating,
    Usage,
)
from gemini.backend.v1.error_details_pb2 import Attempt, ExecutionFailure, UpstreamFailure
from gemini_backend.api.requests.draft import Draft
from gemini_backend.api.requests.metadata_size import METADATA_BYTES, status_size
from gemini_backend.api.requests.shortening import shortened

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status

INFO = ErrorInfo(reason="UPSTREAM_ANSWER_BLOCKED", domain="gemini.backend")
NAME = "executions/0198f3a1c2d4e5f60718293a4b"


def short(message: str, *details: Any, room: int = METADATA_BYTES) -> Status:
    """Return the status of a failure, shortened to the room of trailers."""
    draft = Draft(9, message, (INFO, *details))
    whole = draft.status()
    status = shortened(draft, room, status_size)
    assert whole == draft.status(), "the draft itself has been changed"
    assert status_size(status) <= room
    assert 9 == status.code
    info = of(status, ErrorInfo)
    assert (INFO.reason, INFO.domain) == (info.reason, info.domain)
    return status


def of(status: Status, kind: Any) -> Any:
    """Return the detail of this kind; None without one."""
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            return kind.FromString(packed.value)
    return None


def missing(status: Status) -> dict[str, int]:
    """Return what the status says that it lacks; 0 where it counts nothing."""
    said = of(status, ErrorInfo).metadata["shortened"]
    parts = (entry.partition(":") for entry in said.split(", ") if entry)
    return {name: int(number or 0) for name, _, number in parts}


def failure(**fields: Any) -> ExecutionFailure:
    """Return how far an execution came, with its usage."""
    usage = Usage(total_token_count=15, prompt_token_count=10)
    return ExecutionFailure(execution=NAME, last_sequence=7, usage=usage, **fields)


def test_what_fits_stays_whole() -> None:
    """Nothing is cut, nothing is said."""
    status = short("blocked", failure(finish_message="because"))
    assert {} == dict(of(status, ErrorInfo).metadata)
    assert failure(finish_message="because") == of(status, ExecutionFailure)


def test_what_the_model_had_said_goes_first() -> None:
    """Thoughts of 18 kB are left out; everything else is whole."""
    thoughts = Candidate(content=Content(parts=[Part(text="thinking " * 2000, thought=True)]))
    status = short("blocked", failure(candidates=[thoughts], finish_message="because"))
    assert {"candidates": 1} == missing(status)
    assert failure(finish_message="because") == of(status, ExecutionFailure)
    assert "blocked" == status.message


@pytest.mark.parametrize("words", ["x = 1 # code\n", "无效的参数", "100% "])
def test_long_messages_use_the_room_that_there_is(words: str) -> None:
    """The finish message is cut to half a kilobyte, the status message to what remains."""
    text = words * 4000
    status = short(text, failure(finish_message=text))
    told = of(status, ExecutionFailure)
    assert 500 < len(told.finish_message.encode()) <= 512
    assert METADATA_BYTES - status_size(status) < 16
    assert text.startswith(status.message[:-1])
    size = len(text.encode())
    assert {
        "message": size - len(status.message.encode()),
        "finish_message": size - len(told.finish_message.encode()),
    } == missing(status)
    assert (NAME, 7, 15) == (told.execution, told.last_sequence, told.usage.total_token_count)


def test_as_many_violations_as_fit_are_named_and_all_are_counted() -> None:
    """The first ones stay whole; how many more there are is said."""
    violations = [{"field": f"tools[{n}].name", "description": "bad name"} for n in range(400)]
    status = short("400 names", BadRequest(field_violations=violations))
    named = of(status, BadRequest).field_violations
    assert 50 < len(named)
    assert [violation["field"] for violation in violations[: len(named)]] == [
        violation.field for violation in named
    ]
    assert {"violations": 400 - len(named)} == missing(status)


def test_entries_that_were_never_written_are_counted() -> None:
    """A draft says how many of its violations it does not have at all."""
    bad = BadRequest(field_violations=[{"field": "a"}])
    draft = Draft(3, "bad", (INFO, bad), {"violations": 500})
    assert {"violations": 500} == missing(shortened(draft, METADATA_BYTES, status_size))


def test_of_many_attempts_the_last_ones_stay() -> None:
    """They say why it failed in the end."""
    attempts = [Attempt(number=number, model="models/" + "m" * 60) for number in range(1, 101)]
    told = of(short("failed " * 200, failure(attempts=attempts)), ExecutionFailure)
    numbers = [attempt.number for attempt in told.attempts]
    assert 4 <= len(numbers) < 100
    assert list(range(101 - len(numbers), 101)) == numbers


def test_a_token_outlasts_words() -> None:
    """A token of 2 KiB stays, at the cost of the message; a longer one is told by its size."""
    status = short("words " * 900, failure(continuation_token=b"t" * 2048))
    assert 2048 == len(of(status, ExecutionFailure).continuation_token)
    assert 128 <= len(status.message.encode())
    status = short("words " * 900, failure(continuation_token=b"t" * 3000))
    assert b"" == of(status, ExecutionFailure).continuation_token
    assert "3000" == of(status, ErrorInfo).metadata["continuation_token_bytes"]
    assert len(status.message) > 1000


def test_what_no_shortening_makes_fit_leaves_the_least() -> None:
    """Reason, delay, progress, counts and cost stay, and the beginning of the message."""
    ratings = [SafetyRating(category_raw="c" * 300)] * 50
    usage = Usage(
        total_token_count=15,
        prompt_tokens_details=[ModalityTokenCount(modality_raw="m" * 99, token_count=1)] * 50,
    )
    full = ExecutionFailure(
        execution=NAME,
        usage=usage,
        cost=Cost(cost_nano_usd=5),
        prompt_feedback=PromptFeedback(block_reason=BLOCK_REASON_SAFETY, safety_ratings=ratings),
        attempts=[Attempt(number=1, model="m" * 300)],
        continuation_token=b"t" * 900,
    )
    retry = RetryInfo(retry_delay={"seconds": 3})
    status = short("words " * 900, retry, full, UpstreamFailure(message="u" * 999), room=900)
    told = of(status, ExecutionFailure)
    assert (
        ExecutionFailure(
            execution=NAME,
            usage=Usage(total_token_count=15),
            cost=Cost(cost_nano_usd=5),
            prompt_feedback=PromptFeedback(block_reason=BLOCK_REASON_SAFETY),
        )
        == told
    )
    assert retry == of(status, RetryInfo)
    assert 1 == missing(status)["details"]
    assert "900" == of(status, ErrorInfo).metadata["continuation_token_bytes"]


TEXTS = st.text(st.sampled_from("aé无😀%\n\x00"), max_size=300).map(lambda text: text * 40)


@settings(max_examples=60)
@given(TEXTS, TEXTS, TEXTS, st.integers(0, 300), st.integers(0, 3000))
def test_whatever_is_said_fits(message: str, words: str, name: str, count: int, token: int) -> None:
    """Any texts, any numbers of entries, a token of any size; the reason and the name stay."""
    info = ErrorInfo(reason=INFO.reason, domain=INFO.domain, metadata={"a": words, "b": name})
    details = (
        info,
        BadRequest(field_violations=[{"field": name, "description": words}] * count),
        QuotaFailure(violations=[{"subject": words}] * count),
        Help(links=[{"url": words}] * count),
        UpstreamFailure(http_status=400, status=name, message=message),
        ExecutionFailure(
            execution=NAME,
            finish_reason_raw=name,
            finish_message=words,
            continuation_token=b"t" * token,
            prompt_feedback=PromptFeedback(block_reason_message=words),
        ),
    )
    status = shortened(Draft(9, message, details), METADATA_BYTES, status_size)
    assert status_size(status) <= METADATA_BYTES
    assert INFO.reason == of(status, ErrorInfo).reason
    assert NAME == of(status, ExecutionFailure).execution
