"""Money: whole numbers, by the model that served, at the prices of the day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as pb
from gemini_backend.models.catalogue import load
from gemini_backend.models.prices import cost_of
from tests.support.messages.any_usage import USAGES
from tests.support.messages.recordings import Recording, parameters

if TYPE_CHECKING:
    from gemini_backend.models.catalogue_schema import CatalogueEntry

CATALOGUE = load()
NOW = datetime(2026, 11, 23, tzinfo=UTC)
DOLLAR = 1_000_000_000


def entry(name: str) -> CatalogueEntry:
    found = CATALOGUE.find(name)
    assert found is not None
    return found


def usage(
    prompt: int, cached: int = 0, out: int = 0, thoughts: int = 0, tools: int = 0
) -> pb.Usage:
    return pb.Usage(
        prompt_token_count=prompt,
        cached_content_token_count=cached,
        candidates_token_count=out,
        thoughts_token_count=thoughts,
        tool_use_prompt_token_count=tools,
    )


MILLION = 1_000_000
# Dollars for a million tokens: input, output, cached; the last number is the size of the prompt.
LISTED = [
    ("gemini-4-argon", 2, 10, 0.1, 0),
    ("gemini-4-neon", 3, 15, 0.15, 0),
    ("gemini-4-hydrogen", 1.5, 7.5, 0.075, 0),
    ("gemini-4-carbon", 2, 10, 2, 0),
    ("gemini-3.8-flash", 0.75, 3.75, 0.075, 0),
    ("gemini-3.7-flash", 0.75, 3.75, 0.075, 0),
    ("gemini-3.6-flash", 0.75, 3.75, 0.075, 0),
    ("gemini-3.5-flash", 1.5, 9, 0.15, 0),
    ("gemini-3.5-flash-lite", 0.3, 2.5, 0.03, 0),
    ("gemini-3.1-flash-lite", 0.25, 1.5, 0.025, 0),
    ("gemini-3.1-pro-preview", 2, 12, 0.2, 0),
    ("gemini-3.1-pro-preview", 4, 18, 0.4, 200_001),
    ("gemini-3-flash-preview", 0.5, 3, 0.05, 0),
    ("gemini-2.5-pro", 1.25, 10, 0.125, 0),
    ("gemini-2.5-pro", 2.5, 15, 0.25, 200_001),
    ("gemini-2.5-flash", 0.3, 2.5, 0.03, 0),
    ("gemini-2.5-flash-lite", 0.1, 0.4, 0.01, 0),
]


@pytest.mark.parametrize(("name", "dear", "out", "cached", "size"), LISTED)
def test_pain_09_cached_tokens_are_priced_once(
    name: str, dear: float, out: float, cached: float, size: int
) -> None:
    """For each model and size: the prompt holds the cached tokens, which cost their own rate."""
    prompt = size or 200_000
    cost = cost_of(entry(name), usage(prompt, cached=50_000, out=1000, thoughts=500), NOW)
    assert cost is not None
    assert [
        round((prompt - 50_000) * dear * 1000),
        round(50_000 * cached * 1000),
        round(1000 * out * 1000),
        round(500 * out * 1000),
    ] == [
        cost.input_nano_usd,
        cost.cached_input_nano_usd,
        cost.output_nano_usd,
        cost.thoughts_nano_usd,
    ]
    assert f"models/{name}" == cost.priced_model


@pytest.mark.parametrize("name", ["gemini-4-argon", "gemini-4-carbon"])
def test_prices_have_dates(name: str) -> None:
    """gemini-4-argon and -carbon double on the first of December, at midnight UTC."""
    day = datetime(2026, 12, 1, tzinfo=UTC)
    before, after = (
        cost_of(entry(name), usage(MILLION, out=MILLION), at)
        for at in (day - timedelta(seconds=1), day)
    )
    assert (12 * DOLLAR, 24 * DOLLAR) == (
        before and before.cost_nano_usd,
        after and after.cost_nano_usd,
    )


@pytest.mark.parametrize(("tier", "percent"), [("batch", 50), ("flex", 50), ("priority", 180)])
def test_tiers_cost_their_share(tier: str, percent: int) -> None:
    """Batch and flex cost half, priority 1.8 times as much."""
    asked = usage(MILLION, out=MILLION)
    flash = entry("gemini-3.8-flash")
    plain, other = cost_of(flash, asked, NOW), cost_of(flash, asked, NOW, tier=tier)  # type: ignore[arg-type]
    assert plain is not None
    assert other is not None
    assert plain.cost_nano_usd * percent // 100 == other.cost_nano_usd


def test_media_have_rates_of_their_own() -> None:
    """Sound costs more than text, where the price list says so; the rest counts as text."""
    spoken = usage(1000)
    spoken.prompt_tokens_details.add(modality=pb.MODALITY_AUDIO, token_count=400)
    cost = cost_of(entry("gemini-2.5-flash"), spoken, NOW)
    assert cost is not None
    assert 600 * 300 + 400 * 1000 == cost.input_nano_usd


def test_searches_and_tools_cost() -> None:
    """A grounded search has a price; what server-side tools add to the prompt is input."""
    cost = cost_of(entry("gemini-3.5-flash"), usage(1000, tools=500), NOW, searches=2)
    assert cost is not None
    assert (1500 * 1500, 28_000_000) == (cost.input_nano_usd, cost.grounding_nano_usd)


def test_what_tools_read_has_its_kinds() -> None:
    """Sound that a tool brought in costs what sound costs."""
    asked = usage(0, tools=500)
    asked.tool_use_prompt_tokens_details.add(modality=pb.MODALITY_AUDIO, token_count=200)
    cost = cost_of(entry("gemini-2.5-flash"), asked, NOW)
    assert cost is not None
    assert 300 * 300 + 200 * 1000 == cost.input_nano_usd


PICTURES = [
    ("gemini-3-pro-image", 12_000, 120_000),
    ("gemini-3-pro-image-preview", 12_000, 120_000),
    ("nano-banana-pro-preview", 12_000, 120_000),
    ("gemini-3.1-flash-image", 3_000, 60_000),
    ("gemini-3.1-flash-image-preview", 3_000, 60_000),
    ("gemini-3.1-flash-lite-image", 1_500, 30_000),
    ("gemini-nano-banana-2.1", 7_500, 30_000),
    ("gemini-2.5-flash-image", 2_500, 30_000),
    ("gemini-2.5-flash-image-preview", 2_500, 30_000),
]


@pytest.mark.parametrize("word", ["IMAGE", "Image", "image", "MODALITY_IMAGE"])
@pytest.mark.parametrize(("name", "text", "picture"), PICTURES)
def test_pictures_have_a_rate_of_their_own(name: str, text: int, picture: int, word: str) -> None:
    """Of each model that makes them, previews too, however the kind is spelt; the rest is text."""
    asked = usage(0, out=2340)
    asked.candidates_tokens_details.add(modality_raw=word, token_count=2000)
    cost = cost_of(entry(name), asked, NOW)
    assert cost is not None
    assert 2000 * picture + 340 * text == cost.output_nano_usd


def test_kinds_that_come_twice_or_without_a_count_add_up() -> None:
    """And no more than all tokens are priced, the dearest kinds first."""
    asked = usage(0, out=100)
    for tokens in (30, None, 20):
        asked.candidates_tokens_details.add(modality=pb.MODALITY_IMAGE, token_count=tokens)
    asked.candidates_tokens_details.add(modality=pb.MODALITY_TEXT, token_count=500)
    picture = entry("gemini-2.5-flash-image")
    cost = cost_of(picture, asked, NOW)
    assert cost is not None
    assert 50 * 30_000 + 50 * 2_500 == cost.output_nano_usd
    asked.candidates_tokens_details.add(modality=pb.MODALITY_IMAGE, token_count=500)
    cost = cost_of(picture, asked, NOW)
    assert cost is not None
    assert 100 * 30_000 == cost.output_nano_usd


PRICED = st.sampled_from(
    ["gemini-2.5-pro", "gemini-2.5-flash", "gemini-3.8-flash", "gemini-3-pro-image"]
)
TIERS = st.sampled_from(["standard", "batch", "flex", "priority"])


def paid(name: str, asked: pb.Usage, tier: Any = "standard", searches: int = 0) -> pb.Cost:
    cost = cost_of(entry(name), asked, NOW, tier=tier, searches=searches)
    assert cost is not None
    return cost


@given(PRICED, USAGES, TIERS, st.integers(-3, 5))
def test_the_sum_is_the_sum_and_never_negative(
    name: str, asked: pb.Usage, tier: str, searches: int
) -> None:
    """Whatever upstream counts: below 0, more cached than there is, kinds that do not add up."""
    cost = paid(name, asked, tier, searches)
    parts = [
        cost.input_nano_usd,
        cost.cached_input_nano_usd,
        cost.output_nano_usd,
        cost.thoughts_nano_usd,
        cost.grounding_nano_usd,
    ]
    assert min(parts) >= 0
    assert sum(parts) == cost.cost_nano_usd


@given(PRICED, USAGES, TIERS, st.integers(1, 300_000))
def test_a_higher_count_never_costs_less(name: str, asked: pb.Usage, tier: str, more: int) -> None:
    """Of prompt, answer, thoughts and tools; only what is cached makes a prompt cheaper."""
    before = paid(name, asked, tier).cost_nano_usd
    for field in (
        "prompt_token_count",
        "candidates_token_count",
        "thoughts_token_count",
        "tool_use_prompt_token_count",
    ):
        after = pb.Usage()
        after.CopyFrom(asked)
        setattr(after, field, min(2**31 - 1, getattr(asked, field) + more))
        assert before <= paid(name, after, tier).cost_nano_usd
    after = pb.Usage()
    after.CopyFrom(asked)
    after.cached_content_token_count = min(2**31 - 1, asked.cached_content_token_count + more)
    del after.cache_tokens_details[:], asked.cache_tokens_details[:]
    assert paid(name, after, tier).cost_nano_usd <= paid(name, asked, tier).cost_nano_usd + 2


@given(st.lists(st.integers(0, 400_000), min_size=2, max_size=6))
def test_more_tokens_never_cost_less(sizes: list[int]) -> None:
    """Over the border of a tier too."""
    costs = [cost_of(entry("gemini-2.5-pro"), usage(size), NOW) for size in sorted(sizes)]
    for less, more in pairwise(costs):
        assert less is not None
        assert more is not None
        assert less.cost_nano_usd <= more.cost_nano_usd


@parameters("generateContent", "streamGenerateContent")
def test_every_recorded_answer_has_a_price(recording: Recording) -> None:
    """By the model that served, cached tokens once: input and cached input make up the prompt."""
    last = recording.events[-1] if recording.verb.startswith("stream") else recording.answer
    counted = last.get("usageMetadata")
    version = last.get("modelVersion")
    if not counted or not version:
        return
    served = CATALOGUE.billed(version)
    assert served is not None, version
    asked = usage(
        counted.get("promptTokenCount", 0),
        counted.get("cachedContentTokenCount", 0),
        counted.get("candidatesTokenCount", 0),
        counted.get("thoughtsTokenCount", 0),
        counted.get("toolUsePromptTokenCount", 0),
    )
    cost = cost_of(served, asked, NOW)
    assert cost is not None
    price = next(p for p in served.prices if p.holds(NOW) and not p.above_prompt_tokens)
    fresh = asked.prompt_token_count - asked.cached_content_token_count
    fresh += asked.tool_use_prompt_token_count
    if asked.prompt_token_count <= 128_000:
        assert -(-fresh * price.input // MILLION) == cost.input_nano_usd
        rate = price.input if price.cached_input is None else price.cached_input
        cached = asked.cached_content_token_count
        assert -(-cached * rate // MILLION) == cost.cached_input_nano_usd
