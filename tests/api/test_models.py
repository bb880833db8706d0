"""ModelService: the catalogue merged with the upstream's list.

Covers: api/messages/models.py
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import MessageToDict

from gemini.backend.v1 import model_service_pb2 as pb
from gemini.backend.v1.content_pb2 import MODALITY_AUDIO, MODALITY_TEXT
from gemini_backend.api.models import ModelService
from gemini_backend.errors import UnknownModel, UpstreamUnavailable
from gemini_backend.models.catalogue import load
from gemini_backend.models.listing import ModelListing, UpstreamModel
from gemini_backend.models.measured import NOTHING, Availability, Measured
from gemini_backend.models.registry import Registry
from tests.support.messages.calls import CALL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.clock import FakeClock

NOW = datetime(2026, 11, 23, tzinfo=UTC)
FLASH = UpstreamModel(
    name="models/gemini-3.5-flash",
    base_model_id="base",
    version="001",
    display_name="Flash",
    description="Fast.",
    input_token_limit=1_000_000,
    output_token_limit=60_000,
    supported_methods=("generateContent", "countTokens", "createCachedContent", "newThing"),
    thinking=True,
    temperature=1.0,
    max_temperature=2.0,
    top_p=0.95,
    top_k=64,
    extra={"novel": {"deep": [1, "x"]}},
)
NEW = UpstreamModel(name="models/gemini-9-new", supported_methods=("generateContent",))


class Case:
    """A servicer over the built-in catalogue and an upstream that lists some models."""

    def __init__(self, clock: FakeClock, listed: Sequence[UpstreamModel] = ()) -> None:
        self.down = False
        self.seen: dict[str, Measured] = {}

        async def fetch() -> list[UpstreamModel]:
            if self.down:
                raise UpstreamUnavailable("down")
            return list(listed)

        listing = ModelListing(fetch, clock, 300)
        registry = Registry(load(), listing, NOW.timestamp)
        self.servicer = ModelService(
            registry, listing, lambda name: self.seen.get(name, NOTHING), lambda: 5000.0
        )

    async def names(self, **fields: object) -> list[str]:
        request = pb.ListModelsRequest(page_size=1000, **fields)  # type: ignore[arg-type]
        return [model.name for model in (await self.servicer.ListModels(CALL, request)).models]

    async def get(self, name: str) -> pb.Model:
        return (await self.servicer.GetModel(CALL, pb.GetModelRequest(name=name))).model

    async def validate(self, model: str, **fields: object) -> pb.ValidateModelResponse:
        request = pb.ValidateModelRequest(model=model, **fields)  # type: ignore[arg-type]
        return await self.servicer.ValidateModel(CALL, request)

    async def recommend(self, **fields: object) -> pb.RecommendModelResponse:
        request = pb.RecommendModelRequest(max_results=50, **fields)  # type: ignore[arg-type]
        return await self.servicer.RecommendModel(CALL, request)


@pytest.fixture
def case(clock: FakeClock) -> Case:
    """A servicer whose upstream lists one model of the catalogue and one that is new."""
    return Case(clock, [NEW, FLASH])


async def test_new_models_appear_and_missing_ones_are_marked(case: Case) -> None:
    """A model that only upstream lists is there; one that it does not list is unavailable."""
    names = await case.names()
    assert names == sorted(names)
    assert {NEW.name, FLASH.name, "models/gemini-3.8-flash"} <= set(names)
    new, flash, missing = [await case.get(n) for n in (NEW.name, FLASH.name, "gemini-3.8-flash")]
    assert [
        pb.MODEL_SOURCE_UPSTREAM,
        pb.MODEL_SOURCE_CATALOGUE_AND_UPSTREAM,
        pb.MODEL_SOURCE_CATALOGUE,
    ] == [new.source, flash.source, missing.source]
    assert [
        pb.MODEL_AVAILABILITY_AVAILABLE,
        pb.MODEL_AVAILABILITY_AVAILABLE,
        pb.MODEL_AVAILABILITY_UNAVAILABLE,
    ] == [new.availability, flash.availability, missing.availability]


async def test_what_upstream_lists_no_longer_is_marked(clock: FakeClock) -> None:
    """A model that was there, and that the catalogue does not know, is gone and not forgotten."""
    listed = [NEW, FLASH]
    case = Case(clock, listed=listed)
    assert NEW.name in await case.names()
    listed.remove(NEW)
    await clock.advance(301)
    assert NEW.name not in await case.names()
    assert NEW.name in await case.names(include_gone=True)
    model = await case.get(NEW.name)
    assert (pb.MODEL_LIFECYCLE_GONE, pb.MODEL_AVAILABILITY_UNAVAILABLE) == (
        model.lifecycle,
        model.availability,
    )
    verdict = await case.validate(NEW.name)
    assert not verdict.valid
    assert "the upstream no longer lists it; choose another model" == verdict.problems[0].message
    listed.append(NEW)
    await clock.advance(301)
    assert NEW.name in await case.names()


async def test_with_the_upstream_down_the_catalogue_answers(clock: FakeClock) -> None:
    """Nothing is said of availability, and the list has no age."""
    case = Case(clock)
    case.down = True
    response = await case.servicer.ListModels(CALL, pb.ListModelsRequest())
    assert 10 < response.total_size
    assert not response.HasField("upstream_refresh_time")
    model = await case.get("gemini-3.8-flash")
    assert pb.MODEL_AVAILABILITY_UNSPECIFIED == model.availability


async def test_pages_of_models(case: Case) -> None:
    """Models come a page at a time; the number is of all."""
    request, names = pb.ListModelsRequest(page_size=7), []
    while True:
        page = await case.servicer.ListModels(CALL, request)
        names += [model.name for model in page.models]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert (page.total_size, await case.names()) == (len(names), names)


async def test_models_are_filtered(case: Case) -> None:
    """By capability, medium, size and lifecycle; deprecated and gone ones only if asked for."""
    embed = await case.names(capabilities=[pb.MODEL_CAPABILITY_EMBED_CONTENT])
    assert ["models/gemini-embedding-2"] == embed
    heard = await case.names(input_modalities=[MODALITY_AUDIO])
    assert "models/gemini-3.8-flash" in heard
    assert "models/gemini-3-pro-image" not in heard
    assert await case.names(min_input_token_limit=2_000_000) == []
    plain = set(await case.names())
    assert {"models/gemini-2.5-pro"} <= set(await case.names(include_deprecated=True)) - plain
    assert {"models/gemini-exp-1206"} <= set(await case.names(include_gone=True)) - plain


@pytest.mark.parametrize("name", ["gemini-3.5-flash", "models/gemini-3.5-flash"])
async def test_a_model_is_told_whole(case: Case, name: str) -> None:
    """What the upstream says counts for more; what it does not say is the catalogue's."""
    model = await case.get(name)
    assert ("models/gemini-3.5-flash", "Flash", "Fast.", "001") == (
        model.name,
        model.display_name,
        model.description,
        model.version,
    )
    assert (1_000_000, 60_000) == (model.input_token_limit, model.output_token_limit)
    assert pb.MODEL_CAPABILITY_FUNCTION_CALLING in model.capabilities
    assert list(model.generation_methods) == list(FLASH.supported_methods)
    assert (1.0, 0.95, 64) == (
        model.sampling.temperature,
        model.sampling.top_p,
        model.sampling.top_k,
    )
    assert MessageToDict(model.extra)["novel"] == {"deep": [1, "x"]}
    assert (4, 4096) == (len(model.thinking.levels), model.min_cached_tokens)
    (price,) = model.prices
    assert 1_500_000_000 == price.rates[0].nano_usd_per_million


async def test_aliases_lead_to_their_model(case: Case) -> None:
    """The latest of a family is found by its alias."""
    model = await case.get("gemini-flash-latest")
    assert ("models/gemini-3.8-flash", ["gemini-flash-latest"]) == (model.name, list(model.aliases))


async def test_prices_have_their_periods(case: Case) -> None:
    """Announced prices are told in the order of time."""
    first, second = (await case.get("gemini-4-argon")).prices
    assert first.effective_until == second.effective_from
    assert 2 * first.rates[0].nano_usd_per_million == second.rates[0].nano_usd_per_million


async def test_an_unknown_model_names_the_nearest(case: Case) -> None:
    """A name that is nearly right gets the right one; any other the way to the list."""
    with pytest.raises(UnknownModel, match=r"did you mean gemini-3\.5-flash\?"):
        await case.get("gemini-3.5-flas")
    with pytest.raises(UnknownModel, match="ListModels"):
        await case.get("zzz")


async def test_a_fitting_model_is_valid(case: Case) -> None:
    """Nothing blocks, and it says that the model answers."""
    response = await case.validate(
        "gemini-3.5-flash",
        capabilities=[pb.MODEL_CAPABILITY_FUNCTION_CALLING],
        input_modalities=[MODALITY_TEXT],
        input_tokens=1000,
        output_tokens=1000,
    )
    assert (True, 0, pb.MODEL_AVAILABILITY_AVAILABLE) == (
        response.valid,
        len(response.problems),
        response.availability,
    )


async def test_what_speaks_against_a_model_is_listed(case: Case) -> None:
    """Blocking problems first, each with its criterion; a warning does not make it invalid."""
    response = await case.validate(
        "gemini-2.5-pro",
        capabilities=[pb.MODEL_CAPABILITY_THINKING_LEVEL],
        input_tokens=2_000_000,
    )
    assert not response.valid
    found = [(problem.criterion, problem.blocking) for problem in response.problems]
    assert [
        (pb.MODEL_CRITERION_CAPABILITY, True),
        (pb.MODEL_CRITERION_CONTEXT_SIZE, True),
        (pb.MODEL_CRITERION_LIFECYCLE, False),
        (pb.MODEL_CRITERION_AVAILABILITY, False),
    ] == found
    assert "models/gemini-3.8-flash" == response.replacement
    assert (await case.validate("gemini-2.5-pro")).valid
    gone = await case.validate("gemini-2.0-flash-exp")
    assert (False, "models/gemini-3.5-flash-lite") == (gone.valid, gone.replacement)
    unknown = await case.validate("gemini-3.5-flas")
    assert [pb.MODEL_CRITERION_EXISTENCE] == [one.criterion for one in unknown.problems]


async def test_a_model_that_fails_at_present_is_said_to(case: Case) -> None:
    """By what was seen of it, without asking it."""
    case.seen[FLASH.name] = Measured(Availability.UNAVAILABLE, error_ratio=1.0, samples=0)
    response = await case.validate("gemini-3.5-flash")
    assert (True, pb.MODEL_AVAILABILITY_UNAVAILABLE) == (response.valid, response.availability)
    assert [pb.MODEL_CRITERION_AVAILABILITY] == [one.criterion for one in response.problems]


async def test_recommendations_are_ranked_with_reasons(case: Case) -> None:
    """Scores fall, ranks rise, and the reasons of each add up to its score."""
    response = await case.recommend(use_case=pb.USE_CASE_CODING)
    scores = [one.score for one in response.recommendations]
    assert scores == sorted(scores, reverse=True)
    assert [*range(1, len(scores) + 1)] == [one.rank for one in response.recommendations]
    for one in response.recommendations:
        total = sum(reason.contribution for reason in one.reasons)
        assert abs(min(1.0, max(0.0, total)) - one.score) < 1e-9
        assert 0 < one.estimated_cost_nano_usd
    missed = {one.model: one.criterion for one in response.excluded}
    assert pb.MODEL_CRITERION_LIFECYCLE == missed["models/gemini-exp-1206"]
    assert pb.MODEL_CRITERION_CAPABILITY == missed["models/gemini-embedding-2"]


async def test_a_budget_is_never_exceeded(case: Case) -> None:
    """Whatever else is wanted, dearer models are left out, with their cost."""
    for budget in (0, 100_000, 500_000, 2_000_000, 10_000_000):
        response = await case.recommend(
            max_cost_nano_usd=budget, preference=pb.RECOMMENDATION_PREFERENCE_QUALITY
        )
        assert all(one.estimated_cost_nano_usd <= budget for one in response.recommendations)
    assert response.recommendations


async def test_measured_times_count_for_more_than_published_ones(case: Case) -> None:
    """A model that is slow here is told as measured, and falls in the ranking."""
    before = (await case.recommend(preference=pb.RECOMMENDATION_PREFERENCE_LATENCY)).recommendations
    best = before[0].model.name
    case.seen[best] = Measured(
        Availability.DEGRADED, first_token_p50=30.0, error_ratio=0.4, samples=100
    )
    after = (await case.recommend(preference=pb.RECOMMENDATION_PREFERENCE_LATENCY)).recommendations
    assert best != after[0].model.name
    (slow,) = [one for one in after if one.model.name == best]
    assert slow.latency_measured
    assert 30 <= slow.estimated_first_token_latency.seconds


async def test_previews_come_only_if_asked_for(case: Case) -> None:
    """By default nothing that may vanish is recommended."""
    plain = await case.recommend(use_case=pb.USE_CASE_REASONING)
    more = await case.recommend(use_case=pb.USE_CASE_REASONING, include_preview=True)
    names = [{one.model.name for one in found.recommendations} for found in (plain, more)]
    assert "models/gemini-3.1-pro-preview" in names[1] - names[0]
