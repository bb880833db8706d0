"""ModelService."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.json_format import MessageToDict

from gemini.backend.v1 import model_service_pb2 as pb
from gemini.backend.v1.content_pb2 import MODALITY_TEXT
from gemini_backend.errors import NotImplementedYet, UnknownModel
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.rpc.servicers.models import ModelsServicer
from tests.support.board import EPOCH, board_of

if TYPE_CHECKING:
    from tests.support.clock import FakeClock

FLASH = UpstreamModel(
    name="models/gemini-3.5-flash",
    base_model_id="base",
    version="001",
    display_name="Flash",
    description="Fast.",
    input_token_limit=1_048_576,
    output_token_limit=65_536,
    supported_methods=("generateContent", "countTokens", "createCachedContent", "newThing"),
    thinking=True,
    temperature=1.0,
    max_temperature=2.0,
    top_p=0.95,
    top_k=64,
    extra={"novel": {"deep": [1, "x"]}},
)
EMBEDDING = UpstreamModel(
    name="models/gemini-embedding-2", input_token_limit=8192, supported_methods=("embedContent",)
)


@pytest.fixture
def servicer(clock: FakeClock) -> ModelsServicer:
    """A servicer that knows two models, listed out of order."""
    board = board_of(clock, EMBEDDING, FLASH)
    return ModelsServicer(board.listing, board.wall)


async def _names(servicer: ModelsServicer, request: pb.ListModelsRequest) -> list[str]:
    response = await servicer.ListModels(request, None)
    return [model.name for model in response.models]


async def test_all_models_are_listed_by_name(servicer: ModelsServicer) -> None:
    """Without filters all models come, ordered, with their number and the list's age."""
    response = await servicer.ListModels(pb.ListModelsRequest(), None)
    assert [model.name for model in response.models] == [FLASH.name, EMBEDDING.name]
    assert response.total_size == 2
    assert response.upstream_refresh_time.seconds == EPOCH + 1000


async def test_pages_of_models(servicer: ModelsServicer) -> None:
    """Models come a page at a time; the number is of all."""
    first = await servicer.ListModels(pb.ListModelsRequest(page_size=1), None)
    request = pb.ListModelsRequest(page_size=1, page_token=first.next_page_token)
    second = await servicer.ListModels(request, None)
    assert [model.name for model in (*first.models, *second.models)] == [FLASH.name, EMBEDDING.name]
    assert (first.total_size, second.next_page_token) == (2, "")


async def test_models_are_filtered(servicer: ModelsServicer) -> None:
    """A model must have every capability and the size asked for."""
    embed = pb.ListModelsRequest(capabilities=[pb.MODEL_CAPABILITY_EMBED_CONTENT])
    assert await _names(servicer, embed) == [EMBEDDING.name]
    large = pb.ListModelsRequest(min_input_token_limit=10_000)
    assert await _names(servicer, large) == [FLASH.name]
    both = pb.ListModelsRequest(
        capabilities=[pb.MODEL_CAPABILITY_EMBED_CONTENT], min_input_token_limit=10_000
    )
    assert await _names(servicer, both) == []


async def test_unanswerable_filters_are_refused(servicer: ModelsServicer) -> None:
    """A filter that cannot be applied is refused rather than ignored."""
    with pytest.raises(NotImplementedYet, match="input_modalities"):
        await servicer.ListModels(pb.ListModelsRequest(input_modalities=[MODALITY_TEXT]), None)


@pytest.mark.parametrize("name", ["gemini-3.5-flash", "models/gemini-3.5-flash"])
async def test_a_model_is_told_whole(servicer: ModelsServicer, name: str) -> None:
    """All that the upstream says of a model arrives, what has no field included."""
    model = (await servicer.GetModel(pb.GetModelRequest(name=name), None)).model
    assert model.name == "models/gemini-3.5-flash"
    assert (model.display_name, model.description, model.version) == ("Flash", "Fast.", "001")
    assert (model.input_token_limit, model.output_token_limit) == (1_048_576, 65_536)
    assert list(model.capabilities) == [
        pb.MODEL_CAPABILITY_GENERATE_CONTENT,
        pb.MODEL_CAPABILITY_STREAM_GENERATE_CONTENT,
        pb.MODEL_CAPABILITY_COUNT_TOKENS,
        pb.MODEL_CAPABILITY_CONTEXT_CACHING,
    ]
    assert list(model.generation_methods) == list(FLASH.supported_methods)
    assert (model.sampling.temperature, model.sampling.max_temperature) == (1.0, 2.0)
    assert (model.sampling.top_p, model.sampling.top_k) == (0.95, 64)
    assert model.HasField("thinking")
    assert model.extra["baseModelId"] == "base"
    assert MessageToDict(model.extra)["novel"] == {"deep": [1, "x"]}


async def test_what_is_not_known_is_absent(servicer: ModelsServicer) -> None:
    """A limit or a setting that the upstream does not say is absent, not 0."""
    model = (await servicer.GetModel(pb.GetModelRequest(name=EMBEDDING.name), None)).model
    for field in ("output_token_limit", "sampling", "thinking", "extra", "release_time"):
        assert not model.HasField(field), field


async def test_an_unknown_model_names_the_nearest(servicer: ModelsServicer) -> None:
    """A name that is nearly right gets the right one; any other the way to the list."""
    with pytest.raises(UnknownModel, match=r"did you mean gemini-3\.5-flash\?"):
        await servicer.GetModel(pb.GetModelRequest(name="gemini-3.5-flas"), None)
    with pytest.raises(UnknownModel, match="ListModels"):
        await servicer.GetModel(pb.GetModelRequest(name="zzz"), None)
