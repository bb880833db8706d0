"""A model as the contract has it: the catalogue, the upstream's list, and what was measured."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from google.protobuf.struct_pb2 import Struct

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import model_service_pb2 as pb
from gemini_backend.durations import duration_of, timestamp_of
from gemini_backend.models.catalogue_schema import ModelLifecycle, midnight
from gemini_backend.models.measured import Availability
from gemini_backend.models.names import full_name

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from gemini_backend.models.catalogue_schema import CatalogueEntry, Medium, Price, Thinking
    from gemini_backend.models.listing import UpstreamModel
    from gemini_backend.models.measured import Measured
    from gemini_backend.models.registry import Known

LIFECYCLES = {
    ModelLifecycle.PREVIEW: pb.MODEL_LIFECYCLE_PREVIEW,
    ModelLifecycle.STABLE: pb.MODEL_LIFECYCLE_STABLE,
    ModelLifecycle.DEPRECATED: pb.MODEL_LIFECYCLE_DEPRECATED,
    ModelLifecycle.GONE: pb.MODEL_LIFECYCLE_GONE,
}
_TIERS = {
    "standard": pb.PRICE_TIER_STANDARD,
    "batch": pb.PRICE_TIER_BATCH,
    "flex": pb.PRICE_TIER_FLEX,
    "priority": pb.PRICE_TIER_PRIORITY,
}
# What the upstream's own names for methods say of a model.
_METHODS = {
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


AVAILABILITIES = {
    Availability.UNKNOWN: pb.MODEL_AVAILABILITY_UNSPECIFIED,
    Availability.AVAILABLE: pb.MODEL_AVAILABILITY_AVAILABLE,
    Availability.DEGRADED: pb.MODEL_AVAILABILITY_DEGRADED,
    Availability.UNAVAILABLE: pb.MODEL_AVAILABILITY_UNAVAILABLE,
}


def message_of(known: Known, seen: Measured, now: datetime) -> pb.Model:
    """Return all that is known of a model."""
    entry, listed = known.entry, known.listed
    message = pb.Model(
        name=known.name,
        source=_source(known),
        availability=availability_of(known, seen),
        capabilities=sorted(_capabilities(entry, listed)),
        input_token_limit=known.input_limit or None,
        output_token_limit=known.output_limit or None,
    )
    if entry is not None:
        _from_catalogue(message, entry, now)
    elif listed is None:
        message.lifecycle = pb.MODEL_LIFECYCLE_GONE
    told = listed or known.former
    if told is not None:
        _from_upstream(message, told)
    _measured(message, entry, seen)
    return message


def capability_value(name: str) -> pb.ModelCapability.ValueType:
    """Return the contract's value for a capability of the catalogue."""
    return pb.ModelCapability.Value(f"MODEL_CAPABILITY_{name.upper()}")


def medium_value(name: Medium) -> content.Modality.ValueType:
    """Return the contract's value for a medium of the catalogue."""
    return content.Modality.Value(f"MODALITY_{name.upper()}")


def _from_catalogue(message: pb.Model, entry: CatalogueEntry, now: datetime) -> None:
    message.display_name = entry.display_name
    message.description = entry.description
    message.aliases.extend(entry.aliases)
    message.lifecycle = LIFECYCLES[entry.lifecycle(now)]
    for field, day in (
        (message.release_time, entry.release),
        (message.deprecation_time, entry.deprecation),
        (message.shutdown_time, entry.shutdown),
    ):
        if day is not None:
            field.CopyFrom(_moment(day))
    if entry.replacement is not None:
        message.replacement = full_name(entry.replacement)
    message.input_modalities.extend(medium_value(one) for one in entry.input_modalities)
    message.output_modalities.extend(medium_value(one) for one in entry.output_modalities)
    if entry.thinking is not None:
        message.thinking.CopyFrom(_thinking(entry.thinking))
    if entry.min_cached_tokens is not None:
        message.min_cached_tokens = entry.min_cached_tokens
    if entry.embedding_dimensions is not None:
        message.embedding_dimensions = entry.embedding_dimensions
    ordered = sorted(entry.prices, key=lambda price: (price.starts or date.min, price.tier))
    message.prices.extend(_price(price) for price in ordered)


def _from_upstream(message: pb.Model, listed: UpstreamModel) -> None:
    message.display_name = listed.display_name or message.display_name
    message.description = listed.description or message.description
    message.version = listed.version
    message.generation_methods.extend(listed.supported_methods)
    if listed.thinking and not message.HasField("thinking"):
        message.thinking.SetInParent()
    values = (listed.temperature, listed.max_temperature, listed.top_p, listed.top_k)
    if any(value is not None for value in values):
        message.sampling.CopyFrom(
            pb.SamplingDefaults(
                temperature=listed.temperature,
                max_temperature=listed.max_temperature,
                top_p=listed.top_p,
                top_k=listed.top_k,
            )
        )
    extra = dict(listed.extra)
    if listed.base_model_id:
        extra["baseModelId"] = listed.base_model_id
    if extra:
        message.extra.CopyFrom(_struct(extra))


def _measured(message: pb.Model, entry: CatalogueEntry | None, seen: Measured) -> None:
    if entry is not None and entry.tokens_per_second:
        message.speed.published_tokens_per_second = entry.tokens_per_second
    if not seen.samples:
        return
    speed = message.speed
    speed.sample_count = seen.samples
    for field, seconds in (
        (speed.measured_first_token_p50, seen.first_token_p50),
        (speed.measured_first_token_p95, seen.first_token_p95),
        (speed.measured_latency_p50, seen.latency_p50),
        (speed.measured_latency_p95, seen.latency_p95),
    ):
        if seconds is not None:
            field.CopyFrom(duration_of(seconds))
    if seen.tokens_per_second is not None:
        speed.measured_tokens_per_second = seen.tokens_per_second
    if seen.error_ratio is not None:
        speed.measured_error_ratio = seen.error_ratio


def _capabilities(entry: CatalogueEntry | None, listed: UpstreamModel | None) -> set[Any]:
    found = {capability_value(name) for name in (entry.capabilities if entry else ())}
    for method in listed.supported_methods if listed else ():
        found.update(_METHODS.get(method, ()))
    return found


def _source(known: Known) -> pb.ModelSource.ValueType:
    if known.entry is None:
        return pb.MODEL_SOURCE_UPSTREAM
    if known.listed is None:
        return pb.MODEL_SOURCE_CATALOGUE
    return pb.MODEL_SOURCE_CATALOGUE_AND_UPSTREAM


def availability_of(known: Known, seen: Measured) -> pb.ModelAvailability.ValueType:
    """Return whether a model answers, by what was seen of it and by the upstream's list."""
    if seen.availability is not Availability.UNKNOWN:
        return AVAILABILITIES[seen.availability]
    if known.listed is not None:
        return pb.MODEL_AVAILABILITY_AVAILABLE
    return pb.MODEL_AVAILABILITY_UNAVAILABLE if known.asked else pb.MODEL_AVAILABILITY_UNSPECIFIED


def _thinking(thinking: Thinking) -> pb.ThinkingSupport:
    levels = [
        content.ThinkingLevel.Value(f"THINKING_LEVEL_{one.upper()}") for one in thinking.levels
    ]
    default = (thinking.default_level or "unspecified").upper()
    return pb.ThinkingSupport(
        levels=levels,
        default_level=content.ThinkingLevel.Value(f"THINKING_LEVEL_{default}"),
        min_budget_tokens=thinking.min_budget,
        max_budget_tokens=thinking.max_budget,
        can_be_disabled=thinking.can_be_disabled,
    )


def _price(price: Price) -> pb.ModelPrice:
    rates = [_rate(pb.PRICE_KIND_INPUT, price.input), _rate(pb.PRICE_KIND_OUTPUT, price.output)]
    if price.cached_input is not None:
        rates.append(_rate(pb.PRICE_KIND_CACHED_INPUT, price.cached_input))
    if price.grounded_search:
        rates.append(_rate(pb.PRICE_KIND_GROUNDED_SEARCH, price.grounded_search))
    if price.grounded_prompt:
        rates.append(_rate(pb.PRICE_KIND_GROUNDED_PROMPT, price.grounded_prompt))
    for kind, by_medium in (
        (pb.PRICE_KIND_INPUT, price.input_by_medium),
        (pb.PRICE_KIND_OUTPUT, price.output_by_medium),
        (pb.PRICE_KIND_CACHED_INPUT, price.cached_input_by_medium),
    ):
        rates += [_rate(kind, rate, medium) for medium, rate in by_medium.items()]
    return pb.ModelPrice(
        effective_from=_moment(price.starts) if price.starts else None,
        effective_until=_moment(price.ends) if price.ends else None,
        tier=_TIERS[price.tier],
        above_prompt_tokens=price.above_prompt_tokens,
        rates=rates,
    )


def _rate(kind: pb.PriceKind.ValueType, rate: int, medium: Medium | None = None) -> pb.PriceRate:
    modality = content.MODALITY_UNSPECIFIED if medium is None else medium_value(medium)
    return pb.PriceRate(kind=kind, modality=modality, nano_usd_per_million=rate)


def _moment(day: date) -> Timestamp:
    return timestamp_of(midnight(day).timestamp())


def _struct(values: dict[str, Any]) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct
