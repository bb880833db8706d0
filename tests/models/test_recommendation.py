"""Rankings are sensible, explained, and within what was asked for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.models.catalogue import load
from gemini_backend.models.needs import Needs
from gemini_backend.models.recommendation import PREFERENCES, USE_CASES, Wanted, recommend
from gemini_backend.models.registry import Known

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MODELS = [Known(f"models/{entry.name}", entry, None, asked=False) for entry in load()]


def first(wanted: Wanted) -> str:
    return recommend(MODELS, wanted, NOW)[0][0].known.name.removeprefix("models/")


@pytest.mark.parametrize(
    ("case", "best"),
    [
        ("reasoning", {"gemini-4-argon", "gemini-3.8-flash"}),
        ("coding", {"gemini-4-argon", "gemini-3.8-flash"}),
        ("chat", {"gemini-3.8-flash", "gemini-3.5-flash-lite"}),
        ("high_volume", {"gemini-2.5-flash-lite"}),
        ("classification", {"gemini-2.5-flash-lite"}),
        ("embedding", {"gemini-embedding-2", "gemini-embedding-001"}),
        ("agent", {"gemini-3.8-flash", "gemini-4-argon"}),
        ("creative_writing", {"gemini-3.8-flash", "gemini-4-argon"}),
    ],
)
def test_the_best_of_a_use_case_is_a_sensible_one(case: str, best: set[str]) -> None:
    """Hard problems get a strong model, masses of small ones a cheap one."""
    assert first(Wanted(case)) in best


def test_preferences_move_the_ranking() -> None:
    """Quality leads to the strongest, cost to the cheapest, latency to the quickest."""
    assert "gemini-4-argon" == first(Wanted(preference="quality"))
    assert "gemini-2.5-flash-lite" == first(Wanted(preference="cost"))
    assert first(Wanted(preference="latency")).endswith("-lite")


WANTED = st.builds(
    Wanted,
    use_case=st.sampled_from(sorted(USE_CASES)),
    needs=st.builds(Needs, input_tokens=st.integers(0, 1_000_000)),
    output_tokens=st.integers(0, 60_000),
    max_cost=st.none() | st.integers(0, 5_000_000_000),
    max_first_token=st.none() | st.floats(0.1, 10),
    max_latency=st.none() | st.floats(0.1, 100),
    preference=st.sampled_from(PREFERENCES),
    include_preview=st.booleans(),
)


@given(WANTED)
def test_every_model_is_either_ranked_within_the_limits_or_left_out_with_a_reason(
    wanted: Wanted,
) -> None:
    """Nothing above a budget or a time is ever recommended, and none is lost."""
    ranked, excluded = recommend(MODELS, wanted, NOW)
    assert sorted(known.name for known in MODELS) == sorted(
        [*(one.known.name for one in ranked), *(one.name for one in excluded)]
    )
    for one in ranked:
        assert 0 <= one.score <= 1
        assert wanted.max_cost is None or (one.cost is not None and one.cost <= wanted.max_cost)
        for limit, time in (
            (wanted.max_first_token, one.first_token),
            (wanted.max_latency, one.latency),
        ):
            assert limit is None or (time is not None and time <= limit)
        assert one.reasons
    assert all(one.message for one in excluded)
