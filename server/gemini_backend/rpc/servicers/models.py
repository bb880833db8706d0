"""ModelService: what the upstream lists."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from google.protobuf.struct_pb2 import Struct

from gemini.backend.v1 import model_service_pb2 as pb
from gemini_backend.errors import NotImplementedYet, UnknownModel
from gemini_backend.models.names import full_name, short_name
from gemini_backend.rpc.pages import page_of
from gemini_backend.rpc.times import timestamp_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gemini_backend.models.listing import ModelListing, UpstreamModel

_DEFAULT_PAGE = 50
# What the upstream's own names for methods say of a model.
_CAPABILITIES = {
    "generateContent": (
        pb.MODEL_CAPABILITY_GENERATE_CONTENT,
        # the upstream does not name it, and offers it wherever it offers the other
        pb.MODEL_CAPABILITY_STREAM_GENERATE_CONTENT,
    ),
    "countTokens": (pb.MODEL_CAPABILITY_COUNT_TOKENS,),
    "embedContent": (pb.MODEL_CAPABILITY_EMBED_CONTENT,),
    "createCachedContent": (pb.MODEL_CAPABILITY_CONTEXT_CACHING,),
    "batchGenerateContent": (pb.MODEL_CAPABILITY_BATCH,),
}


class ModelsServicer:
    """Answers from the list of models that the upstream offers."""

    def __init__(self, listing: ModelListing, wall: Callable[[], float]) -> None:
        """Read `listing`; `wall` gives seconds since the epoch."""
        self._listing = listing
        self._wall = wall

    async def ListModels(self, request: pb.ListModelsRequest, _context: Any) -> Any:
        """Return a page of models.

        Raises:
            NotImplementedYet: a filter needs what the upstream's list does not say.
        """
        if request.input_modalities:
            msg = (
                "the upstream's list does not say which modalities a model takes; "
                "leave input_modalities empty"
            )
            raise NotImplementedYet(msg)
        listed = [message_of(model) for model in await self._listing.all()]
        models = sorted((m for m in listed if _wanted(m, request)), key=_name)
        page = page_of(models, _name, request, default_size=_DEFAULT_PAGE)
        age = self._listing.age_seconds()
        return pb.ListModelsResponse(
            models=page.items,
            next_page_token=page.next_token,
            total_size=len(models),
            upstream_refresh_time=None if age is None else timestamp_of(self._wall() - age),
        )

    async def GetModel(self, request: pb.GetModelRequest, _context: Any) -> pb.GetModelResponse:
        """Return one model.

        Raises:
            UnknownModel: the upstream does not list it.
        """
        name = full_name(request.name)
        models = {model.name: model for model in await self._listing.all()}
        if name not in models:
            raise UnknownModel(_unknown(name, models))
        return pb.GetModelResponse(model=message_of(models[name]))


def message_of(model: UpstreamModel) -> pb.Model:
    """Return a model as the contract has it."""
    message = pb.Model(
        name=model.name,
        display_name=model.display_name,
        description=model.description,
        version=model.version,
        capabilities=[
            capability
            for method in model.supported_methods
            for capability in _CAPABILITIES.get(method, ())
        ],
        thinking=pb.ThinkingSupport() if model.thinking else None,
        availability=pb.MODEL_AVAILABILITY_AVAILABLE,
        source=pb.MODEL_SOURCE_UPSTREAM,
        generation_methods=model.supported_methods,
        input_token_limit=model.input_token_limit or None,
        output_token_limit=model.output_token_limit or None,
        sampling=_sampling(model),
    )
    extra = dict(model.extra)
    if model.base_model_id:
        extra["baseModelId"] = model.base_model_id
    if extra:
        message.extra.CopyFrom(_struct(extra))
    return message


def _sampling(model: UpstreamModel) -> pb.SamplingDefaults | None:
    values = (model.temperature, model.max_temperature, model.top_p, model.top_k)
    if all(value is None for value in values):
        return None
    return pb.SamplingDefaults(
        temperature=model.temperature,
        max_temperature=model.max_temperature,
        top_p=model.top_p,
        top_k=model.top_k,
    )


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


def _wanted(model: pb.Model, request: pb.ListModelsRequest) -> bool:
    able = set(request.capabilities) <= set(model.capabilities)
    return able and model.input_token_limit >= request.min_input_token_limit


def _name(model: pb.Model) -> str:
    return model.name


def _unknown(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    hint = f"did you mean {short_name(near[0])}?" if near else "ListModels lists those there are"
    return f"the upstream has no model {short_name(name)!r}; {hint}"
