"""The models that the simulator pretends to serve, with their limits and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import unknown_model

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.wire import Json

GENERATE = ("generateContent", "countTokens", "createCachedContent", "batchGenerateContent")
EMBED = ("embedContent", "countTextTokens", "countTokens", "asyncBatchEmbedContent")
ALL_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH")

# What a method needs to find among a model's supported methods, and what its 404 calls itself.
_NEEDS = {"streamGenerateContent": "generateContent", "batchEmbedContents": "embedContent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model.

    Attributes:
        generation: Its number, such as 3.5; from 3 on, thought signatures are demanded.
        levels: The thinking levels it takes; none if it is steered by a budget.
        budget: The least and most thinking tokens it takes; none if it is steered by levels.
        replaced_by: Which model serves its requests from ``replaced_at`` on.
        replaced_at: Seconds since the epoch.
    """

    name: str
    display_name: str
    generation: float
    version: str = "001"
    input_limit: int = 1_048_576
    output_limit: int = 65_536
    methods: tuple[str, ...] = GENERATE
    levels: tuple[str, ...] = ()
    default_level: str = "HIGH"
    budget: tuple[int, int] | None = None
    can_stop_thinking: bool = True
    penalties: bool = False
    cache_minimum: int = 4_096
    dimensions: int = 0
    latest_of: str = ""
    replaced_by: str = ""
    replaced_at: float = 0.0

    @property
    def thinks(self) -> bool:
        """Whether it thinks at all."""
        return bool(self.levels or self.budget)

    @property
    def demands_signatures(self) -> bool:
        """Whether a function call must come back with its thought signature."""
        return self.generation >= 3  # noqa: PLR2004 - Gemini 3 brought the rule

    def resource(self) -> Json:
        """The model as ``GET models`` shows it."""
        out: Json = {
            "name": f"models/{self.name}",
            "version": self.version,
            "displayName": self.display_name,
            "description": f"Simulated {self.display_name}",
            "inputTokenLimit": self.input_limit,
            "outputTokenLimit": self.output_limit,
            "supportedGenerationMethods": list(self.methods),
        }
        if not self.dimensions:
            out |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2}
            if self.thinks:
                out["thinking"] = True
        return out


def _by_level(
    name: str, display: str, generation: float, levels: tuple[str, ...], default: str
) -> Model:
    return Model(
        name=name,
        display_name=display,
        generation=generation,
        levels=levels,
        default_level=default,
    )


_FROM_DECEMBER_2026 = 1_796_083_200.0

_MODELS = (
    _by_level("gemini-4-argon", "Gemini 4 Argon", 4, ("LOW", "MEDIUM", "HIGH"), "HIGH"),
    _by_level("gemini-3.8-flash", "Gemini 3.8 Flash", 3.8, ALL_LEVELS, "MEDIUM"),
    _by_level("gemini-3.7-flash", "Gemini 3.7 Flash", 3.7, ALL_LEVELS[1:], "MEDIUM"),
    _by_level("gemini-3.6-flash", "Gemini 3.6 Flash", 3.6, ALL_LEVELS, "MEDIUM"),
    _by_level("gemini-3.5-flash", "Gemini 3.5 Flash", 3.5, ALL_LEVELS, "MEDIUM"),
    _by_level("gemini-3.5-flash-lite", "Gemini 3.5 Flash-Lite", 3.5, ALL_LEVELS, "MINIMAL"),
    _by_level("gemini-3.1-flash-lite", "Gemini 3.1 Flash-Lite", 3.1, ALL_LEVELS, "MINIMAL"),
    _by_level("gemini-3.1-pro-preview", "Gemini 3.1 Pro Preview", 3.1, ALL_LEVELS[1:], "HIGH"),
    _by_level("gemini-3-flash-preview", "Gemini 3 Flash Preview", 3, ALL_LEVELS, "HIGH"),
    Model(
        name="gemini-2.5-pro",
        display_name="Gemini 2.5 Pro",
        generation=2.5,
        budget=(128, 32_768),
        can_stop_thinking=False,
        replaced_by="gemini-3.8-flash",
        replaced_at=_FROM_DECEMBER_2026,
    ),
    Model(
        name="gemini-2.5-flash",
        display_name="Gemini 2.5 Flash",
        generation=2.5,
        budget=(1, 24_576),
        cache_minimum=1_024,
        replaced_by="gemini-3.5-flash-lite",
        replaced_at=_FROM_DECEMBER_2026,
    ),
    Model(
        name="gemini-2.5-flash-lite",
        display_name="Gemini 2.5 Flash-Lite",
        generation=2.5,
        budget=(512, 24_576),
        cache_minimum=1_024,
    ),
    Model(
        name="gemma-3-27b-it",
        display_name="Gemma 3 27B",
        generation=2,
        input_limit=131_072,
        output_limit=8_192,
        methods=("generateContent", "countTokens"),
        penalties=True,
    ),
    Model(
        name="gemini-embedding-2",
        display_name="Gemini Embedding 2",
        generation=2,
        input_limit=8_192,
        output_limit=1,
        methods=EMBED,
        dimensions=3_072,
    ),
    Model(
        name="gemini-embedding-001",
        display_name="Gemini Embedding 001",
        generation=1,
        input_limit=2_048,
        output_limit=1,
        methods=EMBED,
        dimensions=3_072,
    ),
    Model(
        name="gemini-flash-latest",
        display_name="Gemini Flash Latest",
        generation=3.8,
        latest_of="gemini-3.8-flash",
        levels=ALL_LEVELS,
        default_level="MEDIUM",
    ),
    Model(
        name="gemini-flash-lite-latest",
        display_name="Gemini Flash-Lite Latest",
        generation=3.5,
        latest_of="gemini-3.5-flash-lite",
        levels=ALL_LEVELS,
        default_level="MINIMAL",
    ),
    Model(
        name="gemini-pro-latest",
        display_name="Gemini Pro Latest",
        generation=3.1,
        latest_of="gemini-3.1-pro-preview",
        levels=ALL_LEVELS[1:],
    ),
)
MODELS = {model.name: model for model in _MODELS}


def listed(version: str) -> list[Model]:
    """The models of a version of the API: the ``-latest`` ones are on ``v1beta`` only."""
    return [model for model in _MODELS if version == "v1beta" or not model.latest_of]


def find(name: str, version: str, method: str) -> Model:
    """The model called ``name``, with or without ``models/`` before it.

    Raises:
        ApiError: 404 if this version has no such model, or the model has no such method.
    """
    short = name.removeprefix("models/")
    wanted = _NEEDS.get(method, method)
    model = MODELS.get(short)
    hidden = model is not None and model.latest_of and version != "v1beta"
    if model is None or hidden or (wanted != "get" and wanted not in model.methods):
        raise unknown_model(short, version, wanted)
    return model


def serving(model: Model, now: float) -> Model:
    """Who really answers for ``model``: itself, what its alias means today, or its replacement."""
    if model.latest_of:
        return MODELS[model.latest_of]
    if model.replaced_by and now >= model.replaced_at:
        return MODELS[model.replaced_by]
    return model
