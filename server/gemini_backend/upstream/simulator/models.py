"""The models that the simulator pretends to serve, with their limits and what they refuse.

They are those of the catalogue that make nothing but text, or vectors, with a few of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Final

from gemini_backend.models.catalogue_schema import built_in, midnight, read
from gemini_backend.upstream.simulator.errors import unknown_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gemini_backend.models.catalogue_schema import CatalogueEntry
    from gemini_backend.upstream.simulator.wire import Json

EMBED = ("embedContent", "countTextTokens", "countTokens", "asyncBatchEmbedContent")
ALL_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH")
MAX_CANDIDATES: Final = 8

# What a method needs to find among a model's supported methods, and what its 404 calls itself.
_NEEDS = {"streamGenerateContent": "generateContent", "batchEmbedContents": "embedContent"}
_OWN = "data/models.toml"
_LATEST = "-latest"
_NUMBERED = re.compile(r"^gemini-(\d+(?:\.\d+)?)(?:-|$)")
_NEWEST = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model.

    Attributes:
        generation: Its number, such as 3.5; from 3 on, thought signatures are demanded.
        output_limit: Most tokens of one answer.
        total_output_limit: Most tokens of all hops of a long decode; the same for none.
        levels: The thinking levels it takes; none if it is steered by a budget.
        budget: The least and most thinking tokens it takes; none if it is steered by levels.
        candidates: Most answers to one request.
        replaced_by: Which model serves its requests from ``replaced_at`` on.
        replaced_at: Seconds since the epoch.
    """

    name: str
    display_name: str
    generation: float
    version: str = "001"
    input_limit: int = 1_048_576
    output_limit: int = 65_536
    total_output_limit: int = 65_536
    methods: tuple[str, ...] = ()
    levels: tuple[str, ...] = ()
    default_level: str = "HIGH"
    budget: tuple[int, int] | None = None
    can_stop_thinking: bool = True
    penalties: bool = False
    candidates: int = MAX_CANDIDATES
    cache_minimum: int = 0
    dimensions: int = 0
    latest_of: str = ""
    replaced_by: str = ""
    replaced_at: float = 0.0

    @property
    def thinks(self) -> bool:
        """Whether it thinks at all."""
        return bool(self.levels or self.budget)

    @property
    def long_decode(self) -> bool:
        """Whether an answer may go on over several requests."""
        return self.total_output_limit > self.output_limit

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


class Models:
    """All of them, by name."""

    def __init__(self, more: Iterable[CatalogueEntry] = ()) -> None:
        """Play those of the catalogue, and `more`, which stand in place of those of their name."""
        own = resources.files("gemini_backend.upstream.simulator").joinpath(_OWN)
        entries = {
            entry.name: entry
            for entry in (*built_in().models, *read(own.read_text("utf-8")).models, *more)
        }
        self._by_name = {m.name: m for entry in entries.values() for m in _played(entry)}

    def listed(self, version: str) -> list[Model]:
        """The models of a version of the API: the ``-latest`` ones are on ``v1beta`` only."""
        found = self._by_name.values()
        return [model for model in found if version == "v1beta" or not model.latest_of]

    def find(self, name: str, version: str, method: str) -> Model:
        """The model called ``name``, with or without ``models/`` before it.

        Raises:
            ApiError: 404 if this version has no such model, or the model has no such method.
        """
        short = name.removeprefix("models/")
        wanted = _NEEDS.get(method, method)
        model = self._by_name.get(short)
        hidden = model is not None and model.latest_of and version != "v1beta"
        if model is None or hidden or (wanted != "get" and wanted not in model.methods):
            raise unknown_model(short, version, wanted)
        return model

    def serving(self, model: Model, now: float) -> Model:
        """Who really answers for ``model``: itself, what its alias means, or its replacement."""
        if model.latest_of:
            return self._by_name[model.latest_of]
        if model.replaced_by and now >= model.replaced_at:
            return self._by_name.get(model.replaced_by, model)
        return model


def _played(entry: CatalogueEntry) -> Iterator[Model]:
    """A model of the catalogue as it is played, with its ``-latest`` names; none if it is not."""
    embeds = "embed_content" in entry.capabilities
    answers = "generate_content" in entry.capabilities and entry.output_modalities == ("text",)
    if entry.gone or not (embeds or answers):
        return
    model = _embedding(entry) if embeds else _answering(entry)
    yield model
    for alias in entry.aliases:
        if alias.endswith(_LATEST):
            shown = alias.replace("-", " ").title().replace("Flash Lite", "Flash-Lite")
            yield replace(model, name=alias, display_name=shown, latest_of=entry.name)


def _embedding(entry: CatalogueEntry) -> Model:
    return Model(
        name=entry.name,
        display_name=entry.display_name,
        generation=0,
        input_limit=entry.input_token_limit,
        output_limit=1,
        total_output_limit=1,
        methods=EMBED,
        dimensions=entry.embedding_dimensions or 1,
    )


def _answering(entry: CatalogueEntry) -> Model:
    levels, budget, default = _thinking(entry)
    thinking = entry.thinking
    numbered = _NUMBERED.match(entry.name)
    named = float(numbered[1]) if numbered else _NEWEST
    redirected = entry.redirected and entry.shutdown is not None
    return Model(
        name=entry.name,
        display_name=entry.display_name,
        generation=named if entry.generation is None else entry.generation,
        input_limit=entry.input_token_limit,
        output_limit=entry.output_token_limit,
        total_output_limit=entry.most_output_tokens,
        methods=tuple(_methods(entry)),
        levels=levels,
        default_level=default,
        budget=budget,
        can_stop_thinking=thinking is None or thinking.can_be_disabled,
        penalties=not entry.lacks("penalties"),
        candidates=1 if entry.lacks("multiple_candidates") else MAX_CANDIDATES,
        cache_minimum=entry.min_cached_tokens or 0,
        replaced_by=entry.replacement or "" if redirected else "",
        replaced_at=midnight(entry.shutdown).timestamp() if redirected and entry.shutdown else 0.0,
    )


def _thinking(entry: CatalogueEntry) -> tuple[tuple[str, ...], tuple[int, int] | None, str]:
    """Its levels, its budget and its usual level; all levels where nobody knows which."""
    thinking = entry.thinking
    if thinking is None:
        return (), None, "HIGH"
    default = (thinking.default_level or "high").upper()
    if thinking.min_budget is not None and thinking.max_budget is not None:
        return (), (thinking.min_budget, thinking.max_budget), default
    return tuple(level.upper() for level in thinking.levels) or ALL_LEVELS, None, default


def _methods(entry: CatalogueEntry) -> Iterator[str]:
    yield "generateContent"
    yield "countTokens"
    if not entry.lacks("context_caching"):
        yield "createCachedContent"
    if not entry.lacks("batch"):
        yield "batchGenerateContent"
