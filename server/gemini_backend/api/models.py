"""ModelService: what there is, what each can do and costs, which one fits."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import model_service_pb2 as pb
from gemini_backend.api.messages.models import availability_of, message_of
from gemini_backend.api.messages.pagination import page_of
from gemini_backend.durations import duration_of, seconds_of, timestamp_of
from gemini_backend.errors import ServiceError, UnknownModel
from gemini_backend.models.names import full_name, short_name
from gemini_backend.models.recommendation import recommend
from gemini_backend.models.requirements import Requirements, problems
from gemini_backend.models.use_cases import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gemini_backend.call import Call
    from gemini_backend.models.catalogue_schema import Capability, Medium
    from gemini_backend.models.listing import ModelListing
    from gemini_backend.models.measured import Measured
    from gemini_backend.models.recommendation import Excluded, Recommended
    from gemini_backend.models.registry import Known, Registry
    from gemini_backend.models.requirements import Criterion, UnmetRequirement

_DEFAULT_PAGE, _DEFAULT_RESULTS = 50, 5
_DEFAULT_OUTPUT = 500


class ModelService:
    """Answers from the registry; no call of it costs money upstream."""

    def __init__(
        self,
        registry: Registry,
        listing: ModelListing,
        seen: Callable[[str], Measured],
        wall: Callable[[], float],
    ) -> None:
        """Know whom to ask.

        Args:
            registry: What is known of models.
            listing: The upstream's list, read again when it is due.
            seen: What was measured of a model, by its name.
            wall: Gives seconds since the epoch.
        """
        self._registry = registry
        self._listing = listing
        self._seen = seen
        self._wall = wall

    async def ListModels(self, call: Call, request: pb.ListModelsRequest) -> pb.ListModelsResponse:
        """Return a page of the models that the caller may use, by name."""
        await self._refresh()
        models = [one for one in map(self._message, self._usable(call)) if _listed(one, request)]
        page = page_of(models, _name, request, default_size=_DEFAULT_PAGE)
        age = self._listing.age_seconds()
        return pb.ListModelsResponse(
            models=page.items,
            next_page_token=page.next_token,
            total_size=len(models),
            upstream_refresh_time=None if age is None else timestamp_of(self._wall() - age),
        )

    async def GetModel(self, _call: Call, request: pb.GetModelRequest) -> pb.GetModelResponse:
        """Return one model.

        Raises:
            UnknownModel: neither the catalogue nor the upstream knows it.
        """
        await self._refresh()
        known = self._registry.find(request.name)
        if known is None:
            raise UnknownModel(_unknown(request.name, self._names()))
        return pb.GetModelResponse(model=self._message(known))

    async def ValidateModel(
        self, call: Call, request: pb.ValidateModelRequest
    ) -> pb.ValidateModelResponse:
        """Return all that speaks against a model for a planned request."""
        await self._refresh()
        known = self._registry.find(request.model)
        if known is None:
            missing = pb.ModelProblem(
                criterion=pb.MODEL_CRITERION_EXISTENCE,
                blocking=True,
                message=_unknown(request.model, self._names()),
            )
            return pb.ValidateModelResponse(problems=[missing])
        seen = self._seen(known.name)
        needs = Requirements(
            _capabilities(request.capabilities),
            _media(request.input_modalities),
            request.input_tokens,
            request.output_tokens,
        )
        found = problems(known, needs, self._registry.now(), seen)
        told = [_problem(problem) for problem in found]
        if not call.principal.may_use(known.name):
            words = f"{call.principal.tenant}/{call.principal.name} may not use this model"
            permission = pb.MODEL_CRITERION_PERMISSION
            told.append(pb.ModelProblem(criterion=permission, blocking=True, message=words))
        successor = None if known.entry is None else self._registry.successor(known.entry)
        return pb.ValidateModelResponse(
            valid=not any(problem.blocking for problem in told),
            model=self._message(known),
            problems=told,
            replacement="" if successor is None else full_name(successor.name),
            availability=availability_of(known, seen),
        )

    async def RecommendModel(
        self, call: Call, request: pb.RecommendModelRequest
    ) -> pb.RecommendModelResponse:
        """Return the models that the caller may use and that meet every requirement, best first."""
        await self._refresh()
        ranked, excluded = recommend(
            self._usable(call), _wanted(request), self._registry.now(), self._seen
        )
        most = request.max_results or _DEFAULT_RESULTS
        return pb.RecommendModelResponse(
            recommendations=[
                self._recommended(one, rank) for rank, one in enumerate(ranked[:most], 1)
            ],
            excluded=[_excluded(one) for one in excluded],
        )

    async def _refresh(self) -> None:
        """Read the upstream's list if it is due; without it the catalogue has to do."""
        try:
            await self._listing.all()
        except ServiceError:
            return

    def _message(self, known: Known) -> pb.Model:
        return message_of(known, self._seen(known.name), self._registry.now())

    def _usable(self, call: Call) -> list[Known]:
        may_use = call.principal.may_use
        return [known for known in self._registry.all() if may_use(known.name)]

    def _names(self) -> list[str]:
        return [known.name for known in self._registry.all()]

    def _recommended(self, one: Recommended, rank: int) -> pb.ModelRecommendation:
        return pb.ModelRecommendation(
            model=self._message(one.known),
            rank=rank,
            score=one.score,
            estimated_cost_nano_usd=one.cost,
            estimated_first_token_latency=duration_of(one.first_token),
            estimated_latency=duration_of(one.latency),
            latency_measured=one.measured,
            reasons=[
                pb.RecommendationReason(
                    criterion=_criterion(reason.criterion),
                    contribution=reason.contribution,
                    message=reason.message,
                )
                for reason in one.reasons
            ],
        )


def _wanted(request: pb.RecommendModelRequest) -> Wanted:
    case = pb.UseCase.Name(request.use_case).removeprefix("USE_CASE_").lower()
    prefix = "RECOMMENDATION_PREFERENCE_"
    preference = pb.RecommendationPreference.Name(request.preference).removeprefix(prefix).lower()
    first, whole = "max_first_token_latency", "max_latency"
    return Wanted(
        use_case="any" if case == "unspecified" else case,
        needs=Requirements(
            _capabilities(request.capabilities),
            _media(request.input_modalities),
            request.input_tokens,
            answers=_media(request.output_modalities),
        ),
        output_tokens=request.output_tokens or _DEFAULT_OUTPUT,
        max_cost=request.max_cost_nano_usd if request.HasField("max_cost_nano_usd") else None,
        max_first_token=seconds_of(request.max_first_token_latency)
        if request.HasField(first)  # type: ignore[arg-type] # a field of its own
        else None,
        max_latency=seconds_of(request.max_latency) if request.HasField(whole) else None,  # type: ignore[arg-type]
        preference="balanced" if preference == "unspecified" else preference,
        include_preview=request.include_preview,
    )


def _capabilities(values: Iterable[Any]) -> tuple[Capability, ...]:
    names = (
        pb.ModelCapability.Name(one).removeprefix("MODEL_CAPABILITY_") for one in values if one
    )
    return cast("tuple[Capability, ...]", tuple(name.lower() for name in names))


def _media(values: Iterable[Any]) -> tuple[Medium, ...]:
    names = (content.Modality.Name(one).removeprefix("MODALITY_") for one in values if one)
    return cast("tuple[Medium, ...]", tuple(name.lower() for name in names))


def _listed(model: pb.Model, request: pb.ListModelsRequest) -> bool:
    hidden = {pb.MODEL_LIFECYCLE_GONE: request.include_gone}
    hidden[pb.MODEL_LIFECYCLE_DEPRECATED] = request.include_deprecated
    return (
        hidden.get(model.lifecycle, True)
        and set(request.capabilities) <= set(model.capabilities)
        and set(request.input_modalities) <= set(model.input_modalities)
        and model.input_token_limit >= request.min_input_token_limit
    )


def _problem(problem: UnmetRequirement) -> pb.ModelProblem:
    capability = pb.MODEL_CAPABILITY_UNSPECIFIED
    if problem.capability is not None:
        capability = pb.ModelCapability.Value(f"MODEL_CAPABILITY_{problem.capability.upper()}")
    return pb.ModelProblem(
        criterion=_criterion(problem.criterion),
        blocking=problem.blocking,
        message=problem.message,
        capability=capability,
    )


def _excluded(one: Excluded) -> pb.ExcludedModel:
    return pb.ExcludedModel(
        model=one.name, criterion=_criterion(one.criterion), message=one.message
    )


def _criterion(criterion: Criterion) -> pb.ModelCriterion.ValueType:
    return pb.ModelCriterion.Value(f"MODEL_CRITERION_{criterion.name}")


def _name(model: pb.Model) -> str:
    return model.name


def _unknown(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(full_name(name), list(known), n=1)
    hint = (
        f"did you mean {short_name(near[0])}?" if near else "ListModels lists the available models"
    )
    return f"there is no model {short_name(name)!r}; {hint}"
