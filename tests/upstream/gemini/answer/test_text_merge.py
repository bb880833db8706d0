"""Events that come together are told as those that come one by one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.errors import ServiceError
from gemini_backend.upstream.gemini.answer import unary_answer
from gemini_backend.upstream.gemini.answer.stream_answer import AnswerStream
from gemini_backend.upstream.gemini.answer.usage_tally import UsageTally
from gemini_backend.upstream.gemini.body import decode
from gemini_backend.upstream.gemini.failure.classification import Failures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

_count = st.sampled_from([None, 0, 3, 5, "7"])
_part = st.fixed_dictionaries(
    {},
    optional={
        "text": st.sampled_from(["a", "", "\ud83d", "b"]),
        "thought": st.sampled_from([True, False]),
        "thoughtSignature": st.sampled_from(["QUI=", "not base64"]),
        "functionCall": st.sampled_from([{"name": "f"}, {"name": "f", "args": [1]}]),
    },
)
_text = st.fixed_dictionaries({"text": st.sampled_from(["a", "bc", ""])})
_content = st.fixed_dictionaries(
    {"parts": st.one_of(st.lists(_text, min_size=1, max_size=1), st.lists(_part, max_size=2))},
    optional={"role": st.sampled_from(["model", "user"])},
)
_candidate = st.fixed_dictionaries(
    {"content": _content},
    optional={
        "index": st.sampled_from([0, 1]),
        "finishReason": st.sampled_from(["STOP", "MAX_TOKENS", "NEW"]),
        "continuationToken": st.sampled_from(["QUI=", "not base64"]),
    },
)
_usage = st.fixed_dictionaries(
    {},
    optional={
        "promptTokenCount": _count,
        "candidatesTokenCount": _count,
        "totalTokenCount": _count,
        "thoughtsTokenCount": _count,
        "cachedContentTokenCount": _count,
        "promptTokensDetails": st.just([{"modality": "TEXT", "tokenCount": 3}]),
        "trafficType": st.sampled_from(["ON_DEMAND", "STRANGE"]),
        "serviceTier": st.just("standard"),
    },
)
_usual = st.builds(
    lambda text, tokens: {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": tokens},
        "modelVersion": "m-001",
    },
    st.sampled_from(["a", "bc"]),
    st.integers(1, 9),
)
_any = st.fixed_dictionaries(
    {"candidates": st.lists(_candidate, min_size=1, max_size=2)},
    optional={
        "usageMetadata": _usage,
        "modelVersion": st.sampled_from(["m-001", "m-002"]),
        "responseId": st.sampled_from(["r1", "r2"]),
        "createTime": st.sampled_from(["2026-01-01T00:00:00Z", "soon"]),
    },
)
_end = {"candidates": [{"finishReason": "STOP", "index": 0}]}
_payload = st.one_of(
    st.builds(json.dumps, _usual),
    st.builds(json.dumps, _usual),
    st.builds(json.dumps, _any),
    st.just(json.dumps(_end)),
    st.sampled_from(
        ["[DONE]", "null", "{}", '{"usageMetadata": {"totalTokenCount": 9}}', "nonsense"]
    ),
)
_reads = st.lists(st.lists(_payload, max_size=6), max_size=4)


_SHORT_WAYS: dict[str, tuple[object, str, Any]] = {
    "reading ahead": (decode, "typed_all", lambda _payloads: []),
    "texts": (AnswerStream, "_take_text", lambda _self, _answer, _number: False),
    "usage": (UsageTally, "alone", lambda _self: None),
}


@pytest.mark.parametrize("way", _SHORT_WAYS)
@given(reads=_reads, merge=st.booleans())
def test_a_short_way_tells_what_the_full_one_tells(
    way: str, reads: list[list[str]], *, merge: bool
) -> None:
    """What is done in fewer steps for the usual events comes to the same messages."""
    payloads = [[found.encode() for found in read] for read in reads]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(*_SHORT_WAYS[way])
        expected = _told(payloads, merge=merge)
    assert expected == _told(payloads, merge=merge)


@given(found=st.one_of(_usual, _any), continued=st.booleans())
def test_a_whole_answer_that_is_one_text_is_told_as_any_other(
    found: dict[str, Any], *, continued: bool
) -> None:
    """What is done in fewer steps for it comes to the same message, or the same failure."""
    body = json.dumps(found).encode()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(unary_answer, "_text", lambda _answer, _model: None)
        patched.setattr(UsageTally, "alone", lambda _self: None)
        expected = _whole(body, continued=continued)
    assert expected == _whole(body, continued=continued)


def test_reading_ahead_stops_before_what_is_not_as_usual() -> None:
    """What comes behind an event of another kind is read when its turn comes."""
    usual = json.dumps({"candidates": [{"index": 0}]}).encode()
    assert len(decode.typed_all([usual, usual, b"[DONE]", usual])) == 2


def _told(reads: Sequence[Sequence[bytes]], *, merge: bool) -> tuple[list[Message], Any]:
    """Return all messages of an answer, and what it failed with."""
    answer = AnswerStream("models/m", Failures(), merge=merge)
    out: list[Message] = []
    for read in reads:
        out += answer.feed(read)
        if answer.failure is not None:
            return out, _failure(answer.failure)
    try:
        return [*out, *answer.finish()], None
    except ServiceError as error:
        return out, _failure(error)


def _whole(body: bytes, *, continued: bool) -> Any:
    try:
        return unary_answer.response(body, "models/m", Failures(), continued=continued)
    except ServiceError as error:
        return _failure(error)


def _failure(error: ServiceError) -> tuple[type, str, Any]:
    return type(error), str(error), error.failure
