"""What a request needs of a model, and which models miss it, each with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from gemini_backend.models.catalogue_schema import Lifecycle
from gemini_backend.models.measured import NOTHING, Availability, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from gemini_backend.models.catalogue_schema import Capability, Entry, Medium
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
class Needs:
    """What requests need; token counts of 0 are not checked.

    `media` are those of the prompt, `answers` those that the answer must hold, none for text alone.
    """

    capabilities: tuple[Capability, ...] = ()
    media: tuple[Medium, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    answers: tuple[Medium, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that speaks against a model; a blocking one rules it out."""

    criterion: Criterion
    message: str
    blocking: bool = True
    capability: Capability | None = None


def problems(known: Known, needs: Needs, at: datetime, seen: Seen = NOTHING) -> list[Problem]:
    """Return all that speaks against a model, blocking problems first; it asks nobody."""
    found = [
        *_lifecycle(known, at),
        *_abilities(known, needs),
        *_sizes(known, needs),
        *_reach(known, seen),
    ]
    return sorted(found, key=lambda problem: not problem.blocking)


def _lifecycle(known: Known, at: datetime) -> Iterator[Problem]:
    entry = known.entry
    if entry is None and known.listed is None:
        yield Problem(Criterion.LIFECYCLE, "the upstream no longer lists it; choose another model")
        return
    if entry is None:
        yield Problem(Criterion.LIFECYCLE, "the catalogue does not contain it", blocking=False)
        return
    remedy = f"; {entry.replacement} replaces it" if entry.replacement else ""
    stage = entry.lifecycle(at)
    if stage is Lifecycle.GONE and known.listed is None:
        yield Problem(Criterion.LIFECYCLE, f"it has been shut down{remedy}")
    elif stage is Lifecycle.GONE:
        when = f" on {entry.shutdown}" if entry.shutdown else ""
        words = f"it was scheduled for shutdown{when}, but is still listed{remedy}"
        yield Problem(Criterion.LIFECYCLE, words, blocking=False)
    elif stage is Lifecycle.DEPRECATED:
        when = f"it will be shut down on {entry.shutdown}" if entry.shutdown else "it is deprecated"
        yield Problem(Criterion.LIFECYCLE, f"{when}{remedy}", blocking=False)
    elif stage is Lifecycle.PREVIEW:
        words = "it is a preview and may change or be removed at short notice"
        yield Problem(Criterion.LIFECYCLE, words, blocking=False)


def _abilities(known: Known, needs: Needs) -> Iterator[Problem]:
    entry = known.entry
    if entry is None:
        if needs.capabilities or needs.media:
            words = "its capabilities beyond the upstream's list are unknown"
            yield Problem(Criterion.CAPABILITY, words, blocking=False)
        return
    for capability in needs.capabilities:
        name = capability.replace("_", " ")
        if entry.lacks(capability):
            words = f"it does not support {name}; use a model that does"
            yield Problem(Criterion.CAPABILITY, words, capability=capability)
        elif entry.may_lack(capability):
            words = f"it is unknown whether it supports {name}"
            yield Problem(Criterion.CAPABILITY, words, blocking=False, capability=capability)
    yield from _media(entry, needs)


def _media(entry: Entry, needs: Needs) -> Iterator[Problem]:
    for medium in needs.media:
        if entry.lacks(medium):
            yield Problem(Criterion.MODALITY, f"it does not accept {medium}; use a model that does")
        elif entry.may_lack(medium):
            words = f"it is unknown whether it accepts {medium}"
            yield Problem(Criterion.MODALITY, words, blocking=False)
    for medium in needs.answers:
        if medium not in entry.output_modalities:
            yield Problem(
                Criterion.MODALITY, f"it does not generate {medium}; use a model that does"
            )


def _sizes(known: Known, needs: Needs) -> Iterator[Problem]:
    for wanted, limit, what in (
        (needs.input_tokens, known.input_limit, "a prompt"),
        (needs.output_tokens, known.total_output_limit, "an answer"),
    ):
        if limit and wanted > limit:
            words = f"{what} may have at most {limit:,} tokens, not {wanted:,}"
            yield Problem(Criterion.CONTEXT_SIZE, words)


def _reach(known: Known, seen: Seen) -> Iterator[Problem]:
    if seen.availability is Availability.UNAVAILABLE:
        words = "it does not answer currently"
        yield Problem(Criterion.AVAILABILITY, words, blocking=False)
    elif known.listed is None and known.asked:
        words = "the upstream does not list it for the configured key"
        yield Problem(Criterion.AVAILABILITY, words, blocking=False)
    elif seen.availability is Availability.DEGRADED:
        words = "some of its executions currently fail"
        yield Problem(Criterion.AVAILABILITY, words, blocking=False)
