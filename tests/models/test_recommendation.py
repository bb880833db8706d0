"""Rankings are sensible, explained, and within what was asked for.

Covers: models/measured.py, models/requirements.py, models/scoring.py, models/use_cases.py
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.models.measured import Availability, Measured
from gemini_backend.models.recommendation import Recommended, recommend
from gemini_backend.models.registry import Known
from gemini_backend.models.requirements import Criterion, Requirements
from gemini_backend.models.use_cases import USE_CASES, Wanted

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MODELS = [Known(f"models/{entry.name}", entry, None, asked=False) for entry in load()]


def first(wanted: Wanted) -> str:
    return recommend(MODELS, wanted, NOW)[0][0].known.name.removeprefix("models/")


@pytest.mark.parametrize(
    ("case", "best"),
    [
        ("any", "gemini-3.8-flash"),
        ("chat", "gemini-3.8-flash"),
        ("coding", "gemini-4-argon"),
        ("reasoning", "gemini-4-argon"),
        ("summarization", "gemini-3.5-flash-lite"),
        ("extraction", "gemini-3.5-flash-lite"),
        ("classification", "gemini-2.5-flash-lite"),
        ("translation", "gemini-3.8-flash"),
        ("creative_writing", "gemini-4-argon"),
        ("agent", "gemini-3.8-flash"),
        ("multimodal", "gemini-3.8-flash"),
        ("long_context", "gemini-3.8-flash"),
        ("high_volume", "gemini-2.5-flash-lite"),
        ("embedding", "gemini-embedding-2"),
    ],
)
def test_the_best_of_a_use_case_is_a_sensible_one(case: str, best: str) -> None:
    """Hard problems get a strong model, masses of small ones a cheap one."""
    assert best == first(Wanted(case))
    assert case in USE_CASES


def made_by(one: Recommended) -> tuple[str, ...]:
    """Return what a model makes."""
    return one.known.entry.output_modalities if one.known.entry else ()


def test_whoever_wants_text_gets_no_maker_of_pictures() -> None:
    """And whoever wants pictures gets nothing else, at what pictures cost."""
    for case in USE_CASES:
        ranked, _ = recommend(MODELS, Wanted(case), NOW)
        assert not [one for one in ranked if "image" in made_by(one)]
    _, excluded = recommend(MODELS, Wanted("coding"), NOW)
    assert "it generates text and image, and text was requested" in [
        one.message for one in excluded
    ]
    pictures = Wanted("creative_writing", Requirements(answers=("image",)), output_tokens=1290)
    ranked, _ = recommend(MODELS, pictures, NOW)
    assert {("text", "image")} == {made_by(one) for one in ranked}
    costs = {one.known.name: one.cost for one in ranked}
    assert (1000 * 300) + (1290 * 30_000) == costs["models/gemini-2.5-flash-image"]


def test_what_has_come_to_its_end_is_not_recommended() -> None:
    """Though it is listed: another one answers by its name, and may be dearer than the budget."""
    (own,) = [one.entry for one in MODELS if one.name == "models/gemini-2.5-flash-image"]
    listed = UpstreamModel(f"models/{own.name}")
    known = Known(listed.name, own, listed, asked=True)
    wanted = Wanted("creative_writing", Requirements(answers=("image",)), max_cost=40_000_000)
    assert 1 == len(recommend([known], wanted, NOW)[0])
    ranked, (excluded,) = recommend([known], wanted, datetime(2027, 3, 15, tzinfo=UTC))
    assert ([], Criterion.LIFECYCLE) == (ranked, excluded.criterion)
    words = (
        "it was scheduled for shutdown on 2027-03-15, but is still listed; gemini-3.1-flash-image"
    )
    assert f"{words} replaces it" == excluded.message


def test_thoughts_are_part_of_the_cost() -> None:
    """They are paid like output, and the reason says so; measured ones count for more."""
    ranked, _ = recommend(MODELS, Wanted("reasoning"), NOW)
    assert "models/gemini-4-argon" == ranked[0].known.name
    assert 1000 * 2000 + (500 + 1200) * 10_000 == ranked[0].cost
    assert "1,200 tokens of thoughts included" in str(ranked[0].reasons)
    seen = Measured(Availability.AVAILABLE, thoughts=3000.4, samples=9)
    ranked, _ = recommend(MODELS, Wanted("reasoning"), NOW, lambda _: seen)
    assert 1000 * 2000 + (500 + 3000) * 10_000 == ranked[0].cost


def test_the_dearest_of_the_media_and_a_search_are_part_of_the_cost() -> None:
    """So that a budget holds for a prompt that is all sound, and for an answer that looks it up."""
    flash = [one for one in MODELS if one.name == "models/gemini-2.5-flash"]
    sound = Requirements(media=("text", "audio", "image"), input_tokens=10_000)
    (one,), _ = recommend(flash, Wanted("any", sound), NOW)
    assert 10_000 * 1000 + (500 + 300) * 2500 == one.cost
    grounded = Requirements(("search_grounding",), input_tokens=10_000)
    (one,), _ = recommend(flash, Wanted("any", grounded), NOW)
    assert 10_000 * 300 + (500 + 300) * 2500 + 35_000_000 == one.cost


def test_a_price_that_will_rise_is_told() -> None:
    """With its day and what a request costs then."""
    ranked, _ = recommend(MODELS, Wanted("reasoning"), NOW)
    assert "from 2026-12-01 a request costs $0.0380" in str(ranked[0].reasons)
    later = datetime(2026, 12, 1, tzinfo=UTC)
    ranked, _ = recommend(MODELS, Wanted("reasoning"), later)
    assert "from 2026" not in str(ranked[0].reasons)
    assert 2 * (1000 * 2000 + 1700 * 10_000) == ranked[0].cost


def test_a_model_surpassed_by_another_stands_behind_it() -> None:
    """What is rated lower and is neither cheaper nor quicker is told so."""
    for case in USE_CASES:
        names = [one.known.name for one in recommend(MODELS, Wanted(case), NOW)[0]]
        if "models/gemini-3.6-flash" in names:
            places = [names.index(f"models/gemini-3.{minor}-flash") for minor in (8, 7, 6)]
            assert sorted(places) == places
    (old,) = [one for one in recommend(MODELS, Wanted(), NOW)[0] if "3.7-flash" in one.known.name]
    assert "gemini-3.8-flash is rated higher, and is neither more expensive nor slower" in str(
        old.reasons
    )


def test_the_nearer_the_end_the_more_it_counts() -> None:
    """A model that ends next week loses more than one that ends in two years."""
    ranked, _ = recommend(MODELS, Wanted(), NOW)
    against = {
        one.known.name: reason.contribution
        for one in ranked
        for reason in one.reasons
        if "shut down" in reason.message
    }
    assert against["models/gemini-2.5-flash"] < against["models/gemini-3.1-flash-lite"] < 0
    (far,) = [
        reason.contribution
        for one in recommend(MODELS, Wanted("embedding"), NOW)[0]
        for reason in one.reasons
        if "2028" in reason.message
    ]
    assert against["models/gemini-3.1-flash-lite"] < far < 0


def test_preferences_move_the_ranking() -> None:
    """Quality leads to the strongest, cost to the cheapest, latency to the quickest."""
    assert "gemini-4-argon" == first(Wanted(preference="quality"))
    assert "gemini-2.5-flash-lite" == first(Wanted(preference="cost"))
    assert first(Wanted(preference="latency")).endswith("-lite")


WANTED = st.builds(
    Wanted,
    use_case=st.sampled_from(sorted(USE_CASES)),
    needs=st.builds(
        Requirements,
        input_tokens=st.integers(0, 1_000_000),
        capabilities=st.sampled_from([(), ("search_grounding",), ("penalties",)]),
        media=st.sampled_from([(), ("audio",), ("text", "video")]),
        answers=st.sampled_from([(), ("image",), ("text",)]),
    ),
    output_tokens=st.integers(0, 60_000),
    max_cost=st.none() | st.integers(0, 5_000_000_000),
    max_first_token=st.none() | st.floats(0.1, 10),
    max_latency=st.none() | st.floats(0.1, 100),
    preference=st.sampled_from(["balanced", "quality", "cost", "latency"]),
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
