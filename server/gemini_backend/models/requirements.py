"""What a request needs of a model, and which models miss it, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gemini_backend.models.catalogue_schema import ModelLifecycle
from gemini_backend.models.measured import NOTHING, Availability, Measured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gemini_backend.models.catalogue_schema import Capability, CatalogueEntry, Medium
    from gemini_backend.models.registry import Known


class Criterion(Enum):
    """What a reason or a problem is about."""

    LIFECYCLE = "lifecycle"
    CAPABILITY = "capability"
    MODALITY = "modality"
    CONTEXT_SIZE = "context size"
    COST = "cost"
    LATENCY = "latency"
    QUALITY = "quality"
    AVAILABILITY = "availability"


@dataclass(frozen=True, slots=True)
class Requirements:
    """What requests need; token counts of 0 are not checked.

    `media` are those of the prompt, `answers` those that the answer must hold, none for text alone.
    """

    capabilities: tuple[Capability, ...] = ()
    media: tuple[Medium, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    answers: tuple[Medium, ...] = ()


@dataclass(frozen=True, slots=True)
class UnmetRequirement:
    """One thing that speaks against a model; a blocking one rules it out."""

    criterion: Criterion
    message: str
    blocking: bool = True
    capability: Capability | None = None


def problems(
    known: Known, needs: Requirements, at: datetime, seen: Measured = NOTHING
) -> list[UnmetRequirement]:
    """Return all that speaks against a model, blocking problems first; it asks nobody."""
    found = [
        *_lifecycle(known, at),
        *_abilities(known, needs),
        *_sizes(known, needs),
        *_reach(known, seen),
    ]
    return sorted(found, key=lambda problem: not problem.blocking)


def _lifecycle(known: Known, at: datetime) -> Iterator[UnmetRequirement]:
    entry = known.entry
    if entry is None and known.listed is None:
        yield UnmetRequirement(
            Criterion.LIFECYCLE, "the upstream no longer lists it; choose another model"
        )
        return
    if entry is None:
        yield UnmetRequirement(
            Criterion.LIFECYCLE, "the catalogue does not contain it", blocking=False
        )
        return
    remedy = f"; {entry.replacement} replaces it" if entry.replacement else ""
    stage = entry.lifecycle(at)
    if stage is ModelLifecycle.GONE and known.listed is None:
        yield UnmetRequirement(Criterion.LIFECYCLE, f"it has been shut down{remedy}")
    elif stage is ModelLifecycle.GONE:
        when = f" on {entry.shutdown}" if entry.shutdown else ""
        words = f"it was scheduled for shutdown{when}, but is still listed{remedy}"
        yield UnmetRequirement(Criterion.LIFECYCLE, words, blocking=False)
    elif stage is ModelLifecycle.DEPRECATED:
        when = f"it will be shut down on {entry.shutdown}" if entry.shutdown else "it is deprecated"
        yield UnmetRequirement(Criterion.LIFECYCLE, f"{when}{remedy}", blocking=False)
    elif stage is ModelLifecycle.PREVIEW:
        words = "it is a preview and may change or be removed at short notice"
        yield UnmetRequirement(Criterion.LIFECYCLE, words, blocking=False)


def _abilities(known: Known, needs: Requirements) -> Iterator[UnmetRequirement]:
    entry = known.entry
    if entry is None:
        if needs.capabilities or needs.media:
            words = "its capabilities beyond the upstream's list are unknown"
            yield UnmetRequirement(Criterion.CAPABILITY, words, blocking=False)
        return
    for capability in needs.capabilities:
        name = capability.replace("_", " ")
        if entry.lacks(capability):
            words = f"it does not support {name}; use a model that does"
            yield UnmetRequirement(Criterion.CAPABILITY, words, capability=capability)
        elif entry.may_lack(capability):
            words = f"it is unknown whether it supports {name}"
            yield UnmetRequirement(
                Criterion.CAPABILITY, words, blocking=False, capability=capability
            )
    yield from _media(entry, needs)


def _media(entry: CatalogueEntry, needs: Requirements) -> Iterator[UnmetRequirement]:
    for medium in needs.media:
        if entry.lacks(medium):
            yield UnmetRequirement(
                Criterion.MODALITY, f"it does not accept {medium}; use a model that does"
            )
        elif entry.may_lack(medium):
            words = f"it is unknown whether it accepts {medium}"
            yield UnmetRequirement(Criterion.MODALITY, words, blocking=False)
    for medium in needs.answers:
        if medium not in entry.output_modalities:
            yield UnmetRequirement(
                Criterion.MODALITY, f"it does not generate {medium}; use a model that does"
            )


def _sizes(known: Known, needs: Requirements) -> Iterator[UnmetRequirement]:
    for wanted, limit, what in (
        (needs.input_tokens, known.input_limit, "a prompt"),
        (needs.output_tokens, known.total_output_limit, "an answer"),
    ):
        if limit and wanted > limit:
            words = f"{what} may have at most {limit:,} tokens, not {wanted:,}"
            yield UnmetRequirement(Criterion.CONTEXT_SIZE, words)


def _reach(known: Known, seen: Measured) -> Iterator[UnmetRequirement]:
    if seen.availability is Availability.UNAVAILABLE:
        words = "it does not answer currently"
        yield UnmetRequirement(Criterion.AVAILABILITY, words, blocking=False)
    elif known.listed is None and known.asked:
        words = "the upstream does not list it for the configured key"
        yield UnmetRequirement(Criterion.AVAILABILITY, words, blocking=False)
    elif seen.availability is Availability.DEGRADED:
        words = "some of its executions currently fail"
        yield UnmetRequirement(Criterion.AVAILABILITY, words, blocking=False)
