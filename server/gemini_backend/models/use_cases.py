"""What models are needed for: each use case with what it needs, and what weighs how much."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_backend.models.requirements import Requirements

if TYPE_CHECKING:
    from gemini_backend.models.catalogue_schema import Capability, Medium

_PREFERRED = 4.0


@dataclass(frozen=True, slots=True)
class UseCase:
    """What a use case needs, and what weighs how much.

    A model whose quality is below `good_enough` is not left out, but loses what it lacks, twice.
    """

    quality: float
    cost: float
    latency: float
    good_enough: float
    capabilities: tuple[Capability, ...] = ("generate_content",)
    media: tuple[Medium, ...] = ()
    input_tokens: int = 1000


USE_CASES: dict[str, UseCase] = {
    "any": UseCase(0.45, 0.3, 0.25, 0.65),
    "chat": UseCase(0.5, 0.2, 0.3, 0.65, ("generate_content", "stream_generate_content")),
    "coding": UseCase(0.75, 0.15, 0.1, 0.8),
    "reasoning": UseCase(0.85, 0.1, 0.05, 0.85),
    "summarization": UseCase(0.35, 0.4, 0.25, 0.6),
    "extraction": UseCase(0.4, 0.4, 0.2, 0.65, ("generate_content", "json_schema")),
    "classification": UseCase(0.2, 0.5, 0.3, 0.5, ("generate_content", "json_mode")),
    "translation": UseCase(0.45, 0.35, 0.2, 0.65),
    "creative_writing": UseCase(0.7, 0.2, 0.1, 0.75),
    "agent": UseCase(0.6, 0.2, 0.2, 0.75, ("generate_content", "function_calling")),
    "multimodal": UseCase(0.5, 0.25, 0.25, 0.65, media=("image",)),
    "long_context": UseCase(0.5, 0.4, 0.1, 0.65, input_tokens=200_000),
    "high_volume": UseCase(0.1, 0.7, 0.2, 0.5),
    "embedding": UseCase(0.5, 0.4, 0.1, 0.5, ("embed_content",)),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model is needed for; times are seconds, costs 10^-9 US dollars a request."""

    use_case: str = "any"
    needs: Requirements = field(default_factory=Requirements)
    output_tokens: int = 500
    max_cost: int | None = None
    max_first_token: float | None = None
    max_latency: float | None = None
    preference: str = "balanced"
    include_preview: bool = False


@dataclass(frozen=True, slots=True)
class Weights:
    """What counts how much, in parts of 1, and what quality is good enough."""

    quality: float
    cost: float
    latency: float
    good_enough: float


def needs_of(wanted: Wanted) -> Requirements:
    """Return what the use case and the caller need together."""
    case = USE_CASES[wanted.use_case]
    return Requirements(
        tuple(dict.fromkeys((*case.capabilities, *wanted.needs.capabilities))),
        tuple(dict.fromkeys((*case.media, *wanted.needs.media))),
        wanted.needs.input_tokens or case.input_tokens,
        0 if wanted.use_case == "embedding" else wanted.output_tokens,
        wanted.needs.answers,
    )


def weights_of(wanted: Wanted) -> Weights:
    """Return what counts how much; what is preferred counts four times as much as usual."""
    case = USE_CASES[wanted.use_case]
    weights = {"quality": case.quality, "cost": case.cost, "latency": case.latency}
    if wanted.preference in weights:
        weights[wanted.preference] *= _PREFERRED
    total = sum(weights.values())
    parts = {name: weight / total for name, weight in weights.items()}
    return Weights(**parts, good_enough=case.good_enough)
