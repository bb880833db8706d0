"""The models that the server knows, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, cast

from gemini.backend.v1.model_service_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    RecommendModelRequest,
    ValidateModelRequest,
)
from gemini_backend_client.calls.plan import Pages, Surface, Unary, operation
from gemini_backend_client.connection import DEFAULT, Link

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from google.protobuf.duration_pb2 import Duration

    from gemini.backend.v1.content_pb2 import Modality
    from gemini.backend.v1.model_service_pb2 import (
        Model,
        ModelCapability,
        RecommendationPreference,
        RecommendModelResponse,
        UseCase,
        ValidateModelResponse,
    )
    from gemini_backend_client.connection import Timeout

__all__ = ["Models", "NeedFields", "RecommendFields"]

_Link = TypeVar("_Link", bound=Link)
_Answer = TypeVar("_Answer")


class NeedFields(TypedDict, total=False):
    """What a request needs of a model; enum values may be given by their names."""

    capabilities: Iterable[ModelCapability.ValueType | str]
    input_modalities: Iterable[Modality.ValueType | str]
    input_tokens: int
    output_tokens: int


class RecommendFields(NeedFields, total=False):
    """Fields of `RecommendModelRequest`, where each is described."""

    use_case: UseCase.ValueType | str
    max_cost_nano_usd: int
    max_first_token_latency: Duration | timedelta
    max_latency: Duration | timedelta
    preference: RecommendationPreference.ValueType | str
    include_preview: bool
    max_results: int
    output_modalities: Iterable[Modality.ValueType | str]


class Models(Surface[_Link]):
    """The models that the server knows."""

    @operation
    def list(
        self, request: ListModelsRequest | None = None, *, timeout: Timeout = DEFAULT
    ) -> Pages[Model]:
        """List models, ordered by name; the next page is asked for when it is needed.

        Args:
            request: filters and page size; default: all that are neither deprecated nor gone.
            timeout: seconds for each page.
        """
        first = ListModelsRequest()
        if request is not None:
            first.CopyFrom(request)
        method = self._link.stubs.models.ListModels
        return Pages(method, first, lambda page: page.models, timeout)

    @operation
    def get(self, name: str, *, timeout: Timeout = DEFAULT) -> Unary[Model]:
        """Return one model by its name or alias.

        Raises:
            NotFoundError: when there is none of that name.
        """
        method = self._link.stubs.models.GetModel
        return Unary(method, GetModelRequest(name=name), lambda answer: answer.model, timeout)

    @operation
    def validate(
        self, model: str, *, timeout: Timeout = DEFAULT, **fields: Unpack[NeedFields]
    ) -> Unary[ValidateModelResponse]:
        """Ask whether a model can serve a planned request; costs nothing at the model API.

        Args:
            model: its name or an alias. One that does not exist is an answer, not an error.
            timeout: seconds for the call; None for no limit.
            fields: what the request needs: capabilities, input_modalities, input_tokens ...
        """
        method = self._link.stubs.models.ValidateModel
        request = ValidateModelRequest(model=model, **cast("Any", fields))
        return Unary(method, request, _as_it_is, timeout)

    @operation
    def recommend(
        self, *, timeout: Timeout = DEFAULT, **fields: Unpack[RecommendFields]
    ) -> Unary[RecommendModelResponse]:
        """Ask which models fit, best first, each with its reasons.

        Args:
            timeout: seconds for the call; None for no limit.
            fields: those of `RecommendModelRequest`: use_case, capabilities, max_cost_nano_usd ...
        """
        method = self._link.stubs.models.RecommendModel
        request = RecommendModelRequest(**cast("Any", fields))
        return Unary(method, request, _as_it_is, timeout)


def _as_it_is(answer: _Answer) -> _Answer:
    return answer
