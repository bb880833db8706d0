"""What a catalogue says of a model: the shape of its files, checked when they are read."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from enum import Enum
from importlib import resources
from typing import Annotated, Final, Literal

import msgspec

BUILT_IN: Final = "data/gemini.toml"
Capability = Literal[
    "generate_content",
    "stream_generate_content",
    "count_tokens",
    "embed_content",
    "function_calling",
    "json_mode",
    "json_schema",
    "thinking_budget",
    "thinking_level",
    "context_caching",
    "code_execution",
    "search_grounding",
    "url_context",
    "penalties",
    "sampling_parameters",
    "system_instruction",
    "batch",
    "multiple_candidates",
    "logprobs",
]
Medium = Literal["text", "image", "audio", "video", "document"]
Level = Literal["minimal", "low", "medium", "high", "xhigh"]
Tier = Literal["standard", "batch", "flex", "priority"]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
# At most so much that the cost of as many tokens as a count can hold is a number of 64 bits.
Rate = Annotated[int, msgspec.Meta(ge=0, le=10**14)]


class ModelLifecycle(Enum):
    """Where a model stands between its announcement and its end."""

    PREVIEW = "may change or be removed at short notice"
    STABLE = "generally available"
    DEPRECATED = "still served; its shutdown or a replacement has been announced"
    GONE = "no longer served under this name"


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every part of a catalogue refuses what it does not know."""


class Thinking(_Part, frozen=True):
    """How thinking is controlled: by levels, or by a budget in tokens.

    With neither, how is not known, and nothing is refused. `typical_tokens` is an estimate of the
    thoughts of one answer where the request says nothing.
    """

    levels: tuple[Level, ...] = ()
    default_level: Level | None = None
    min_budget: Tokens | None = None
    max_budget: Tokens | None = None
    can_be_disabled: bool = True
    typical_tokens: Tokens = 0


class Price(_Part, frozen=True, rename={"starts": "from", "ends": "until"}):
    """The rates of a period, in 10^-9 US dollars a million units, for prompts above a size.

    A search is paid for by itself, or once a prompt that it was needed for, however many they are.
    A period begins on its first day, 00:00 UTC, and ends before its last; without one it is open.
    """

    input: Rate
    output: Rate = 0
    cached_input: Rate | None = None
    grounded_search: Rate = 0
    grounded_prompt: Rate = 0
    input_by_medium: dict[Medium, Rate] = {}
    cached_input_by_medium: dict[Medium, Rate] = {}
    output_by_medium: dict[Medium, Rate] = {}
    above_prompt_tokens: Tokens = 0
    tier: Tier = "standard"
    starts: date | None = None
    ends: date | None = None

    def holds(self, at: datetime) -> bool:
        """Say whether the period covers a moment."""
        begun = self.starts is None or at >= midnight(self.starts)
        return begun and (self.ends is None or at < midnight(self.ends))


class CatalogueEntry(_Part, frozen=True):
    """A model. Limits are in tokens; `quality` runs from 0 to 1 and is an estimate.

    `output_token_limit` holds for one request, `total_output_token_limit` for all hops of a long
    decode together; 0 where the model has none. Sampling parameters that it does not have among
    its capabilities are ignored by it. `unconfirmed` is what no source confirms or denies that it
    can do or take: it is neither claimed nor refused. `doubts` are for people to read.
    `generation`, such as 3.5, says by which rules its tokens are counted, where its name does not.
    `redirected` says that its replacement serves its requests from its shutdown on.
    """

    name: Name
    display_name: str = ""
    description: str = ""
    aliases: tuple[Name, ...] = ()
    preview: bool = False
    gone: bool = False
    release: date | None = None
    deprecation: date | None = None
    shutdown: date | None = None
    replacement: Name | None = None
    redirected: bool = False
    generation: Annotated[float, msgspec.Meta(ge=0)] | None = None
    input_token_limit: Tokens = 0
    output_token_limit: Tokens = 0
    total_output_token_limit: Tokens = 0
    input_modalities: tuple[Medium, ...] = ()
    output_modalities: tuple[Medium, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    unconfirmed: tuple[Capability | Medium, ...] = ()
    doubts: tuple[str, ...] = ()
    thinking: Thinking | None = None
    min_cached_tokens: Tokens | None = None
    embedding_dimensions: Tokens | None = None
    quality: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    first_token_ms: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    prices: tuple[Price, ...] = ()

    @property
    def most_output_tokens(self) -> int:
        """Most tokens that an answer may have in all; 0 where that is not known."""
        return max(self.output_token_limit, self.total_output_token_limit)

    def lacks(self, ability: Capability | Medium) -> bool:
        """Say whether it is certain that the model cannot do something, or take a medium."""
        return not self._claims(ability) and ability not in self.unconfirmed

    def may_lack(self, ability: Capability | Medium) -> bool:
        """Say whether nobody knows if the model can do something, or take a medium."""
        return not self._claims(ability) and ability in self.unconfirmed

    def _claims(self, ability: Capability | Medium) -> bool:
        return ability in self.capabilities or ability in self.input_modalities

    def lifecycle(self, at: datetime) -> ModelLifecycle:
        """Return where the model stands at a moment."""
        if self.gone or (self.shutdown is not None and at >= midnight(self.shutdown)):
            return ModelLifecycle.GONE
        deprecated = self.deprecation is not None and at >= midnight(self.deprecation)
        if deprecated or self.shutdown is not None:
            return ModelLifecycle.DEPRECATED
        return ModelLifecycle.PREVIEW if self.preview else ModelLifecycle.STABLE


class CatalogueFile(_Part, frozen=True):
    """One file: its models, when they were looked up, and where."""

    models: tuple[CatalogueEntry, ...]
    as_of: str = ""
    sources: tuple[str, ...] = ()


def read(text: str) -> CatalogueFile:
    """Return what a file says, each model for itself.

    Raises:
        tomllib.TOMLDecodeError: it is no TOML.
        msgspec.ValidationError: it is not of this shape.
    """
    return msgspec.convert(tomllib.loads(text), CatalogueFile, strict=False)


def built_in() -> CatalogueFile:
    """Return the catalogue that comes with the package."""
    return read(resources.files("gemini_backend.models").joinpath(BUILT_IN).read_text("utf-8"))


def midnight(day: date) -> datetime:
    """Return the beginning of a day, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
