"""Deltas put together at the end say what they say when they are joined one by one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.processing.answers.delta_buffer import DeltaBuffer
from gemini_backend.processing.answers.delta_merge import joined
from gemini_backend.processing.answers.whole_answer import candidates_of

TEXT = st.text(max_size=3)
PART = st.one_of(
    st.builds(lambda text: content.Part(text=text), TEXT),
    st.builds(lambda text, thought: content.Part(text=text, thought=thought), TEXT, st.booleans()),
    st.builds(lambda text: content.Part(text=text, thought_signature=b"s"), TEXT),
    st.just(content.Part(thought_signature=b"alone")),
    st.just(content.Part(function_call=content.FunctionCall(name="f", id="1"))),
    st.just(content.Part(inline_data=content.Blob(mime_type="a/b", data=b"x"))),
    st.just(content.Part()),
)
RATING = content.SafetyRating(category=content.HARM_CATEGORY_HARASSMENT, blocked=True)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "parts": st.lists(PART, max_size=3),
        "role": st.sampled_from(["model", "other"]),
        "finish_reason": st.sampled_from([0, 1, 2, 3]),
        "token_count": st.integers(0, 9),
        "usage": st.just(content.Usage(total_token_count=3)),
        "upstream_event": st.integers(0, 3),
        "model_version": st.just("m"),
    },
)
RARE = st.fixed_dictionaries(
    {},
    optional={
        "candidate_index": st.integers(0, 2),
        "finish_reason_raw": st.just("NOVEL"),
        "finish_message": st.sampled_from(["a", "b"]),
        "safety_ratings": st.just([RATING]),
        "avg_logprobs": st.floats(0, 1),
        "grounding_metadata": st.just(content.GroundingMetadata(web_search_queries=["q"])),
    },
)


def told(fields: list[dict[str, Any]]) -> list[content.Candidate]:
    """Hold one way against the other; return the candidates that both give."""
    deltas = [pb.Delta(**one) for one in fields]
    pieces = DeltaBuffer()
    sizes = [pieces.take(delta) for delta in deltas]
    assert [delta.ByteSize() for delta in deltas] == sizes
    candidates = pieces.candidates()
    assert candidates_of(joined(deltas)) == candidates
    return candidates


def plain(part: content.Part) -> bool:
    """Say whether a part is a text without a voice of its own, and nothing else."""
    return {"text"} == {field.name for field, _ in part.ListFields()}


@given(st.lists(FIELDS, max_size=8))
def test_simple_deltas_become_one_candidate(fields: list[dict[str, Any]]) -> None:
    """Parts in order, texts of one voice as one, of everything else the latest."""
    candidates = told(fields)
    assert bool(fields) == len(candidates)
    for candidate in candidates:
        parts = [part for one in fields for part in one.get("parts", [])]
        made = candidate.content.parts
        assert "".join(part.text for part in parts) == "".join(part.text for part in made)
        assert not any(plain(one) and plain(other) for one, other in pairwise(made))
        reasons = [one["finish_reason"] for one in fields if one.get("finish_reason")]
        counts = [one["token_count"] for one in fields if "token_count" in one]
        assert [candidate.finish_reason] == (reasons or [0])[-1:]
        assert [candidate.token_count] == (counts or [0])[-1:]


@given(st.lists(st.builds(dict.__or__, FIELDS, RARE), max_size=6))
def test_whatever_else_they_say_is_told_as_well(fields: list[dict[str, Any]]) -> None:
    """Several candidates, ratings, grounding: as if they were joined one by one."""
    candidates = told(fields)
    assert {one.get("candidate_index", 0) for one in fields} == {one.index for one in candidates}
    said = {name for one in fields for name in one if name in {"safety_ratings", "finish_message"}}
    kept = {field.name for one in candidates for field, _ in one.ListFields()}
    assert said <= kept


def test_what_is_changed_later_is_held_as_it_was() -> None:
    """Whoever stands outside may change what was handed on."""
    delta = pb.Delta(parts=[content.Part(text="a")])
    pieces = DeltaBuffer()
    pieces.take(delta)
    delta.parts[0].text = "changed"
    assert "a" == pieces.candidates()[0].content.parts[0].text
