"""A new model is a matter of data: everything knows it as soon as a file does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini.backend.v1 import model_service_pb2 as pb
from gemini_backend.api.models import ModelService
from gemini_backend.config.sections.models import ModelsOptions
from gemini_backend.errors import UnsupportedByModel
from gemini_backend.models.catalogue import load
from gemini_backend.models.catalogue_schema import read
from gemini_backend.models.listing import ModelListing
from gemini_backend.models.measured import NOTHING
from gemini_backend.models.registry import Registry
from gemini_backend.policies.checks.model_check import ModelCheck
from gemini_backend.policies.outcome.pricing import Pricing
from gemini_backend.policies.pipeline import Pipeline
from gemini_backend.processing.tokens.counting import TokenCounter
from gemini_backend.upstream.simulator import Simulator, SimulatorOptions
from gemini_backend.upstream.simulator.errors import ApiError
from gemini_backend.upstream.simulator.models import Models
from tests.support.layers.inproc import collect
from tests.support.messages.calls import CALL, make_call
from tests.support.messages.tokenizers import NoTokenizer
from tests.support.upstreams.counting_upstream import GOOD, Upstream
from tools.reference import recommendations

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import FakeClock

NOW = datetime(2026, 12, 15, tzinfo=UTC)
NAME = "xenon-deep"
TEXT = """
[[models]]
name = "xenon-deep"
display_name = "Xenon Deep"
aliases = ["xenon-latest"]
generation = 4.5
release = "2026-12-10"
input_token_limit = 2_000_000
output_token_limit = 50_000
total_output_token_limit = 500_000
input_modalities = ["text"]
output_modalities = ["text"]
capabilities = [
  "generate_content",
  "stream_generate_content",
  "count_tokens",
  "system_instruction",
  "thinking_level",
]
unconfirmed = ["audio", "code_execution"]
doubts = ["made up"]
quality = 1.0
tokens_per_second = 500
first_token_ms = 100

[models.thinking]
levels = ["low", "xhigh"]
default_level = "xhigh"

[[models.prices]]
input = 100_000_000
output = 200_000_000
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A data file with one model that no code has heard of."""
    path = tmp_path / "more.toml"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def registry(file: str, clock: FakeClock) -> Registry:
    """The models, that one among them."""

    async def nobody() -> list[Any]:
        return []

    return Registry(load(file), ModelListing(nobody, clock, 100), NOW.timestamp)


@pytest.fixture
def servicer(registry: Registry, clock: FakeClock) -> ModelService:
    """ModelService over them."""

    async def nobody() -> list[Any]:
        return []

    listing = ModelListing(nobody, clock, 100)
    return ModelService(registry, listing, lambda _: NOTHING, NOW.timestamp)


async def test_it_is_listed(servicer: ModelService) -> None:
    """With limits, thinking levels and prices, by its name and its alias."""
    listed = await servicer.ListModels(CALL, pb.ListModelsRequest(page_size=100))
    assert f"models/{NAME}" in [one.name for one in listed.models]
    model = (await servicer.GetModel(CALL, pb.GetModelRequest(name="models/xenon-latest"))).model
    assert (2_000_000, 50_000, "Xenon Deep") == (
        model.input_token_limit,
        model.output_token_limit,
        model.display_name,
    )
    assert [content.THINKING_LEVEL_LOW, content.THINKING_LEVEL_XHIGH] == model.thinking.levels
    assert [100_000_000, 200_000_000] == [
        rate.nano_usd_per_million for rate in model.prices[0].rates
    ]


async def test_it_is_validated(servicer: ModelService) -> None:
    """What it lacks is a problem, what nobody knows of it a warning; its hops count together."""
    asked = pb.ValidateModelRequest(model=f"models/{NAME}", output_tokens=500_000)
    assert (await servicer.ValidateModel(CALL, asked)).valid
    asked.capabilities.extend(
        [pb.MODEL_CAPABILITY_FUNCTION_CALLING, pb.MODEL_CAPABILITY_CODE_EXECUTION]
    )
    verdict = await servicer.ValidateModel(CALL, asked)
    assert not verdict.valid
    assert [
        ("it does not support function calling; use a model that does", True),
        ("it is unknown whether it supports code execution", False),
    ] == [(one.message, one.blocking) for one in verdict.problems]
    asked = pb.ValidateModelRequest(model=f"models/{NAME}", output_tokens=500_001)
    assert not (await servicer.ValidateModel(CALL, asked)).valid


async def test_it_is_recommended(servicer: ModelService) -> None:
    """Where it is the best; not for what nobody knows whether it can do it."""
    answer = await servicer.RecommendModel(CALL, pb.RecommendModelRequest())
    assert f"models/{NAME}" == answer.recommendations[0].model.name
    asked = pb.RecommendModelRequest(capabilities=[pb.MODEL_CAPABILITY_CODE_EXECUTION])
    answer = await servicer.RecommendModel(CALL, asked)
    assert f"models/{NAME}" not in [one.model.name for one in answer.recommendations]
    (excluded,) = [one for one in answer.excluded if one.model == f"models/{NAME}"]
    assert "it is unknown whether it supports code execution" == excluded.message


async def test_requests_are_checked_against_it(registry: Registry, clock: FakeClock) -> None:
    """Levels, tools, limits; what is unconfirmed passes, and what it ignores is warned of."""
    pipeline = Pipeline(ModelCheck(ModelsOptions, registry))

    async def ask(**fields: Any) -> Any:
        request = execute.ExecuteRequest(model=f"models/{NAME}", prompt="x", **fields)
        stream = pipeline.stream(Upstream(clock, *GOOD).stream)
        return (await collect(stream(make_call(clock), request)))[0].started.warnings

    low = {"thinking_level": content.THINKING_LEVEL_LOW}
    config = {"max_output_tokens": 500_000, "thinking_config": low}
    assert not await ask(tools=[{"code_execution": {}}], generation_config=config)
    for fields in (
        {"tools": [{"google_search": {}}]},
        {"cached_content": "cachedContents/x"},
        {"generation_config": {"max_output_tokens": 500_001}},
        {"generation_config": {"candidate_count": 2}},
        {"generation_config": {"thinking_config": {"thinking_level_raw": "high"}}},
    ):
        with pytest.raises(UnsupportedByModel):
            await ask(**fields)
    warnings = await ask(generation_config={"temperature": 0.5, "top_k": 3})
    ignored = "xenon-deep ignores generation_config.temperature, generation_config.top_k"
    assert [("PARAMETER_IGNORED", f"{ignored}; omit it")] == [
        (one.code, one.message) for one in warnings
    ]


def test_it_has_its_price(registry: Registry) -> None:
    """By its name, its alias, and a version of it."""
    usage = content.Usage(prompt_token_count=1000, candidates_token_count=100)
    for name in (NAME, "xenon-latest", "xenon-deep-001"):
        cost = Pricing(registry).price(name, usage)
        assert cost is not None
        assert 1000 * 100 + 100 * 200 == cost.cost_nano_usd


def test_its_tokens_are_counted_by_its_generation(registry: Registry) -> None:
    """Which the file says, where the name does not; other names say it themselves."""
    counter = TokenCounter(NoTokenizer(), registry.real_name, registry.generation)
    generations = [counter.generation(f"models/{name}") for name in (NAME, "xenon-latest")]
    assert [4.5, 4.5, 3.8] == [*generations, counter.generation("models/gemini-3.8-flash")]


async def test_the_simulator_plays_it() -> None:
    """With its limits, levels and alias; what it lacks is refused."""
    models = Models(read(TEXT).models)
    model = models.find(NAME, "v1beta", "generateContent")
    assert (50_000, 500_000, True, ("LOW", "XHIGH"), 1, 4.5) == (
        model.output_limit,
        model.total_output_limit,
        model.long_decode,
        model.levels,
        model.candidates,
        model.generation,
    )
    assert model is models.serving(models.find("xenon-latest", "v1beta", "get"), 0)
    with pytest.raises(ApiError):
        models.find(NAME, "v1beta", "createCachedContent")
    async with Simulator(SimulatorOptions(models=read(TEXT).models)) as simulator:
        assert simulator.port


def test_the_pages_tell_of_it(file: str) -> None:
    """The rankings in the docs are made with it."""
    assert f"| 1 | {NAME} |" in recommendations.render(file)
