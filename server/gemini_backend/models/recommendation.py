"""Which model fits: those that meet every requirement, ranked, each with its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.models.catalogue_schema import ModelLifecycle, midnight
from gemini_backend.models.measured import NOTHING, Measured
from gemini_backend.models.prices import estimate
from gemini_backend.models.requirements import Criterion, Requirements, problems
from gemini_backend.models.scoring import Candidate, Reason, dollars, reasons_for
from gemini_backend.models.use_cases import Wanted, needs_of, weights_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date, datetime

    from gemini_backend.models.catalogue_schema import CatalogueEntry
    from gemini_backend.models.registry import Known

# Fewer measured executions than this say less than what is published.
_ENOUGH_SAMPLES = 5
_REQUIRED = {Criterion.CAPABILITY, Criterion.MODALITY}
_Missed = tuple[Criterion, str] | None


@dataclass(frozen=True, slots=True)
class Recommended:
    """A model that meets every requirement; times are seconds, None where not known."""

    known: Known
    score: float
    cost: int | None
    first_token: float | None
    latency: float | None
    measured: bool
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Excluded:
    """A model that misses a requirement."""

    name: str
    criterion: Criterion
    message: str


def recommend(
    models: Iterable[Known],
    wanted: Wanted,
    at: datetime,
    seen: Callable[[str], Measured] = lambda _: NOTHING,
) -> tuple[list[Recommended], list[Excluded]]:
    """Return the models that fit, best first, and those that do not, by name."""
    needs, weights = needs_of(wanted), weights_of(wanted)
    candidates, excluded = [], []
    for known in models:
        found, missed = _judged(known, needs, wanted, at, seen(known.name))
        if missed is not None:
            excluded.append(Excluded(known.name, *missed))
        elif found is not None:
            candidates.append(found)
    ranked = [_scored(one, reasons_for(one, candidates, weights, at)) for one in candidates]
    ranked.sort(key=lambda one: (-one.score, one.known.name))
    return ranked, excluded


def _judged(
    known: Known, needs: Requirements, wanted: Wanted, at: datetime, seen: Measured
) -> tuple[Candidate | None, _Missed]:
    """Return the model as a candidate, and the requirement that it misses, if any."""
    entry = known.entry
    if entry is None:
        return None, (Criterion.CAPABILITY, "its capabilities are unknown")
    # one that is gone and still listed is served by another, at the prices of that one
    gone = entry.lifecycle(at) is ModelLifecycle.GONE
    for problem in problems(known, needs, at, seen):
        unsure = problem.criterion in _REQUIRED  # what is not known is not recommended for it
        if problem.blocking or unsure or (gone and problem.criterion is Criterion.LIFECYCLE):
            return None, (problem.criterion, problem.message)
    if entry.lifecycle(at) is ModelLifecycle.PREVIEW and not wanted.include_preview:
        return None, (Criterion.LIFECYCLE, "it is a preview, and previews were not requested")
    if not needs.answers and set(entry.output_modalities) - {"text"}:
        made = " and ".join(entry.output_modalities)
        return None, (Criterion.MODALITY, f"it generates {made}, and text was requested")
    found = _candidate(known, entry, needs, at, seen)
    return found, _too_dear(found, wanted) or _too_slow(found, wanted)


def _candidate(
    known: Known, entry: CatalogueEntry, needs: Requirements, at: datetime, seen: Measured
) -> Candidate:
    measured = seen.samples >= _ENOUGH_SAMPLES
    first, speed, thoughts = None, None, None
    if measured:
        first, speed, thoughts = seen.first_token_p50, seen.tokens_per_second, seen.thoughts
    if thoughts is None:
        thoughts = entry.thinking.typical_tokens if entry.thinking else 0
    if first is None and entry.first_token_ms:
        first, measured = entry.first_token_ms / 1000, False
    speed = speed or entry.tokens_per_second
    latency = None
    if first is not None:
        latency = first + (needs.output_tokens / speed if speed else 0.0)
    thoughts = round(thoughts) if needs.output_tokens else 0
    return Candidate(
        known=known,
        entry=entry,
        seen=seen,
        cost=estimate(entry, needs, at, thoughts),
        first_token=first,
        latency=latency,
        measured=measured,
        thoughts=thoughts,
        rise=_rise(entry, needs, at, thoughts),
    )


def _rise(
    entry: CatalogueEntry, needs: Requirements, at: datetime, thoughts: int
) -> tuple[date, int] | None:
    """Return the next day from which a request costs something else, and what."""
    now = estimate(entry, needs, at, thoughts)
    days = sorted(price.starts for price in entry.prices if price.starts)
    for day in days:
        then = estimate(entry, needs, midnight(day), thoughts)
        if midnight(day) > at and then is not None and then != now:
            return day, then
    return None


def _too_dear(one: Candidate, wanted: Wanted) -> _Missed:
    if wanted.max_cost is None or (one.cost is not None and one.cost <= wanted.max_cost):
        return None
    if one.cost is None:
        return Criterion.COST, "its price is unknown, so it may exceed the budget"
    return Criterion.COST, f"a request costs {dollars(one.cost)}, above the budget"


def _too_slow(one: Candidate, wanted: Wanted) -> _Missed:
    for limit, expected, what in (
        (wanted.max_first_token, one.first_token, "the first token"),
        (wanted.max_latency, one.latency, "a whole answer"),
    ):
        if limit is not None and (expected is None or expected > limit):
            told = "an unknown time" if expected is None else f"{expected:.3g} s"
            return Criterion.LATENCY, f"{what} takes {told}, and the limit is {limit:.3g} s"
    return None


def _scored(one: Candidate, reasons: tuple[Reason, ...]) -> Recommended:
    score = min(1.0, max(0.0, sum(reason.contribution for reason in reasons)))
    return Recommended(
        one.known, score, one.cost, one.first_token, one.latency, one.measured, reasons
    )
