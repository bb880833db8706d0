"""Counts of tokens in whatever form they come: read where they can be, kept where they cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as pb
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.answer import usage
from gemini_backend.upstream.gemini.answer.usage_tally import UsageTally
from gemini_backend.upstream.gemini.body import decode
from gemini_backend.upstream.gemini.failure.classification import Failures
from gemini_backend.upstream.gemini.requests import embeddings
from gemini_backend.upstream.gemini.translation import proto_fields

COUNTS = (
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "toolUsePromptTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
)


def read(counts: dict[str, Any]) -> pb.Usage:
    """Return a usage with every count that can be made out."""
    return proto_fields.make(pb.Usage, **usage.counted(usage.fields(json.dumps(counts).encode())))


@pytest.mark.parametrize("form", [55, 55.0, "55", " 55 ", "055"])
@pytest.mark.parametrize(
    "name", ["candidatesTokenCount", "candidates_token_count", "responseTokenCount"]
)
def test_a_count_may_come_in_any_form(name: str, form: Any) -> None:
    """As a number, with a point, as text, in either case, under its name on live connections."""
    found = read({name: form})
    assert 55 == found.candidates_token_count
    kept = (
        {} if (name, form) == ("candidatesTokenCount", 55) and type(form) is int else {name: form}
    )
    assert kept == dict(found.extra.items())


@pytest.mark.parametrize(
    "form",
    [
        -5,
        -5.0,
        "-5",
        2**31,
        1e12,
        10**400,
        "9" * 30,
        5.5,
        "5.5",
        "",
        "five",
        "\u0665",
        True,
        [5],
        {},
    ],
)
def test_what_is_no_count_is_kept_and_not_known(form: Any) -> None:
    """A negative, absurd or other value counts as nothing and fails nothing."""
    found = read({"promptTokenCount": form, "candidatesTokenCount": 7})
    assert not found.HasField("prompt_token_count")
    assert 7 == found.candidates_token_count
    assert {"promptTokenCount": form} == json.loads(found.extra_json)


def test_embeddings_are_counted_in_any_form() -> None:
    """Under the name that embeddings have for kinds of medium, and as text."""
    counts = {
        "promptTokenCount": "14",
        "promptTokenDetails": [{"modality": "TEXT", "tokenCount": 14}],
    }
    body = {"embeddings": [{"values": [1.0]}], "usageMetadata": counts}
    batch = EmbedBatch("models/m", [execute.EmbedRequest(contents=[{}])])
    used = embeddings.response(json.dumps(body).encode(), batch, Failures()).usage
    assert (14, [14]) == (
        used.prompt_token_count,
        [one.token_count for one in used.prompt_tokens_details],
    )
    assert counts == json.loads(used.extra_json)


def test_the_usual_form_comes_before_others() -> None:
    """Where a count comes twice, that under Gemini's own name holds."""
    assert 5 == read({"prompt_token_count": 9, "promptTokenCount": 5}).prompt_token_count


def test_kinds_of_medium_may_come_in_any_form() -> None:
    """Twice, without a count, with text for one, below 0, in snake case, under other names."""
    found = read(
        {
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 5},
                {"modality": "TEXT", "tokenCount": "6"},
                {"modality": "IMAGE"},
                {"modality": "Audio", "tokenCount": -1},
                {"tokenCount": 2.0},
            ],
            "response_tokens_details": [{"modality": "IMAGE", "token_count": 4}],
        }
    )
    assert [(1, "", 5), (1, "", 6), (2, "", 0), (0, "Audio", 0), (0, "", 2)] == [
        (one.modality, one.modality_raw, one.token_count) for one in found.prompt_tokens_details
    ]
    assert [(2, 4)] == [(d.modality, d.token_count) for d in found.candidates_tokens_details]
    assert {"tokenCount": -1} == dict(found.prompt_tokens_details[3].extra.items())


def test_ordinary_counts_are_taken_as_they_are() -> None:
    """Nothing is copied where nothing is odd."""
    plain = usage.fields(b'{"promptTokenCount": 5, "totalTokenCount": 5}')
    assert plain is usage.counted(plain)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=5,
)
_NAMES = st.sampled_from(
    [
        *COUNTS,
        "prompt_token_count",
        "responseTokenCount",
        "promptTokensDetails",
        "candidatesTokensDetails",
        "candidates_tokens_details",
        "trafficType",
        "serviceTier",
        "novel",
    ]
)
_DETAILS = st.lists(
    st.fixed_dictionaries({}, optional={"modality": _VALUES, "tokenCount": _VALUES}), max_size=3
)
_REPORTS = st.lists(st.dictionaries(_NAMES, _VALUES | _DETAILS, max_size=6), max_size=5)


@given(_REPORTS)
def test_any_reports_come_to_a_usage(reports: list[dict[str, Any]]) -> None:
    """Whatever JSON comes: nothing fails, no count is negative, no total below its parts."""
    tally = UsageTally()
    for report in reports:
        plain = usage.fields(json.dumps(report).encode())
        proto_fields.make(pb.Usage, **plain)
        tally.add(usage.counted(plain))
    found = proto_fields.make(pb.Usage, **tally.came_to(ended=True, said=True))
    assert found.quality in {pb.USAGE_QUALITY_EXACT, pb.USAGE_QUALITY_ESTIMATED}
    counts = [getattr(found, name) for name in usage.COUNTS]
    assert all(0 <= count <= usage.MOST for count in counts)
    parts = sum(counts[:4])
    assert min(usage.MOST, parts) <= found.total_token_count or not found.HasField(
        "total_token_count"
    )


_STEPS = st.lists(st.tuples(st.integers(0, 90), st.integers(0, 90)), min_size=1, max_size=6)


@given(st.integers(1, 99), _STEPS)
def test_counts_that_only_grow_are_the_last_ones(prompt: int, steps: list[tuple[int, int]]) -> None:
    """Of a stream without rounds the last report holds, exactly."""
    tally = UsageTally()
    answer, thoughts = 1, 0
    for more, thought in steps:
        answer, thoughts = answer + more, thoughts + thought
        tally.add(
            {
                "prompt_token_count": prompt,
                "candidates_token_count": answer,
                "thoughts_token_count": thoughts,
                "total_token_count": prompt + answer + thoughts,
            }
        )
    found = proto_fields.make(pb.Usage, **tally.came_to(ended=True, said=True))
    assert (answer, thoughts, prompt + answer + thoughts, pb.USAGE_QUALITY_EXACT) == (
        found.candidates_token_count,
        found.thoughts_token_count,
        found.total_token_count,
        found.quality,
    )


@given(_STEPS)
def test_the_last_report_is_never_lost(steps: list[tuple[int, int]]) -> None:
    """Whatever goes up and down, an answer comes to no less than what was reported last."""
    tally = UsageTally()
    for answer, thoughts in steps:
        tally.add({"candidates_token_count": answer, "thoughts_token_count": thoughts})
    found = proto_fields.make(pb.Usage, **tally.came_to(ended=True, said=True))
    assert found.candidates_token_count >= steps[-1][0]
    assert found.thoughts_token_count >= steps[-1][1]


@given(
    counts=st.dictionaries(st.sampled_from(COUNTS), st.integers(0, usage.MOST)),
    details=st.dictionaries(
        st.sampled_from(
            [
                "promptTokensDetails",
                "candidatesTokensDetails",
                "cacheTokensDetails",
                "toolUsePromptTokensDetails",
            ]
        ),
        st.lists(
            st.fixed_dictionaries(
                {"modality": st.sampled_from(["TEXT", "IMAGE", "SMELL"])},
                optional={"tokenCount": st.integers(0, 9)},
            ),
            min_size=1,
            max_size=2,
        ),
    ),
    words=st.dictionaries(
        st.sampled_from(["serviceTier", "trafficType"]),
        st.sampled_from(["", "STANDARD", "ON_DEMAND", "ODD"]),
    ),
)
def test_counts_are_the_same_written_field_by_field_or_as_arguments(
    counts: dict[str, int], details: dict[str, Any], words: dict[str, str]
) -> None:
    """`put` writes what `of_wire` returns, zeros and an empty usage included."""
    text = json.dumps({"candidates": [{}], "usageMetadata": {**counts, **details, **words}})
    answer = decode.typed(text.encode())
    assert answer is not None
    assert answer.usage_metadata is not None
    written = execute.Delta()
    usage.put(written.usage, answer.usage_metadata)
    expected = proto_fields.make(execute.Delta, usage=usage.of_wire(answer.usage_metadata))
    assert expected == written
