"""Hops of a long answer, as they are read and asked for."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import AccountLimited, AnswerBlocked, EmptyAnswer, ServiceError
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.requests import generate

TOKEN = b"\x00\xff\xfe token"
TEXT = base64.b64encode(TOKEN).decode()
CONTINUATION = content.FINISH_REASON_CONTINUATION


def event(*texts: str, **candidate: Any) -> dict[str, Any]:
    """Return an event with one candidate."""
    if texts:
        parts = [{"text": text} for text in texts]
        candidate = {"content": {"parts": parts, "role": "model"}, **candidate}
    return {"candidates": [candidate], "modelVersion": "m-001", "responseId": "r1"}


def streamed(
    *events: dict[str, Any], continued: bool = False, merge: bool = True
) -> list[pb.ExecuteResponse]:
    """Return what a stream of these events gives.

    Raises:
        ServiceError: what it fails with.
    """
    answer = AnswerStream("models/m", Failures(), merge=merge, continued=continued)
    out = answer.feed([json.dumps(found).encode() for found in events])
    if answer.failure is not None:
        raise answer.failure
    return out + answer.finish()


def read(found: dict[str, Any], *, continued: bool = False) -> pb.ProcessResponse:
    """Return what a body gives.

    Raises:
        ServiceError: what it fails with.
    """
    body = json.dumps(found).encode()
    return unary_answer.response(body, "models/m", Failures(), continued=continued)


ENDS = event(finishReason="CONTINUATION", continuationToken=TEXT)


@pytest.mark.parametrize("text", [TEXT, base64.urlsafe_b64encode(TOKEN).decode().rstrip("=")])
def test_the_end_of_a_hop_has_its_token(text: str) -> None:
    """The last delta and `completed` say CONTINUATION and the token, in either alphabet."""
    last = event("b", finishReason="CONTINUATION", continuationToken=text)
    events = streamed(event("a"), last)
    done = events[-1].completed
    assert [(CONTINUATION, TOKEN)] * 2 == [
        (events[-2].delta.finish_reason, events[-2].delta.continuation_token),
        (done.finish_reason, done.continuation_token),
    ]
    (candidate,) = read(last).candidates
    assert (CONTINUATION, TOKEN) == (candidate.finish_reason, candidate.continuation_token)


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(("behind", "token"), [("", TOKEN), ("b", b"")])
def test_a_token_leads_on_behind_all_that_was_said(behind: str, token: bytes, merge: bool) -> None:
    """A token that came before the finish is the hop's, unless more was said behind it."""
    events = streamed(
        event("a", continuationToken=TEXT),
        event(behind),
        event(finishReason="CONTINUATION"),
        merge=merge,
    )
    assert "a" + behind == "".join(part.text for one in events for part in one.delta.parts)
    assert token == events[-1].completed.continuation_token
    assert [TOKEN] == [e.delta.continuation_token for e in events if e.delta.continuation_token]


def test_a_whole_answer_has_no_token_at_its_end() -> None:
    """A token beside STOP stays on its delta; `completed` says nothing of it."""
    events = streamed(event("a", finishReason="STOP", continuationToken=TEXT))
    assert (TOKEN, b"") == (
        events[-2].delta.continuation_token,
        events[-1].completed.continuation_token,
    )


def test_of_several_candidates_the_first_ones_token_is_told() -> None:
    """`completed` is about the first candidate; each delta has its own token."""
    other = base64.b64encode(b"other").decode()
    both = {
        "candidates": [
            {"index": 1, "finishReason": "CONTINUATION", "continuationToken": other},
            {"index": 0, "finishReason": "CONTINUATION", "continuationToken": TEXT},
        ]
    }
    events = streamed(event("a"), both)
    assert TOKEN == events[-1].completed.continuation_token
    assert [b"other", TOKEN] == [one.delta.continuation_token for one in events[2:4]]


def test_a_hop_that_says_nothing_is_no_blocked_answer() -> None:
    """A hop may hold no text: it ends with CONTINUATION, and is no failure."""
    assert CONTINUATION == streamed(ENDS)[-1].completed.finish_reason
    assert CONTINUATION == read(ENDS).candidates[0].finish_reason
    thought = {"parts": [{"text": "hm", "thought": True}]}
    thinking = event(content=thought, finishReason="CONTINUATION", continuationToken=TEXT)
    assert CONTINUATION == streamed(thinking)[-1].completed.finish_reason


@pytest.mark.parametrize(("reason", "failure"), [("STOP", EmptyAnswer), ("SAFETY", AnswerBlocked)])
def test_a_later_hop_may_end_without_a_word(reason: str, failure: type[ServiceError]) -> None:
    """What goes on from an earlier hop may be at its end; the first hop of an answer may not."""
    last = event(finishReason=reason)
    word = content.FinishReason.Value(f"FINISH_REASON_{reason}")
    assert word == streamed(last, continued=True)[-1].completed.finish_reason
    assert word == read(last, continued=True).candidates[0].finish_reason
    for reading in (streamed, read):
        with pytest.raises(failure):
            reading(last)


def test_a_later_hop_of_a_limited_account_is_none() -> None:
    """It is the key's fault, for a later hop as for the first: another key of its project helps."""
    last = event(finishReason="PUP_LIMITED_DISABLED")
    for reading in (streamed, read):
        with pytest.raises(AccountLimited):
            reading(last, continued=True)


@pytest.mark.parametrize("found", [{"candidates": []}, {"modelVersion": "m"}])
def test_a_later_hop_without_any_candidate_is_no_answer(found: dict[str, Any]) -> None:
    """Nothing at all is a failure for a later hop as well, so that it is tried again."""
    for reading in (streamed, read):
        with pytest.raises(EmptyAnswer):
            reading(found, continued=True)


def test_a_candidate_of_a_later_hop_that_did_not_end_is_no_answer() -> None:
    """A whole body without a finish reason and without text says nothing of an end."""
    with pytest.raises(EmptyAnswer):
        read(event(), continued=True)


def test_a_hop_is_asked_for_with_the_token_beside_the_rest() -> None:
    """The token is written at the top of the body, in base64, and the rest is the same."""
    request = pb.ExecuteRequest(prompt="x", continuation_mode=pb.CONTINUATION_MODE_AUTO)
    first = msgspec.json.decode(generate.generate(request))
    request.continuation_token = TOKEN
    again = msgspec.json.decode(generate.generate(request))
    assert {**first, "continuationToken": TEXT} == again
    assert {"contents"} == first.keys()
