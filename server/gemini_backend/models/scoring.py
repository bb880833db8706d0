"""How well a model does beside others: a score, and what made it, in words.

Quality counts from 0.5, the least that is useful, to 1. Price and speed count by how many times
dearer or slower a model is than the cheapest or the quickest one that is left: `_DEAR` times as
dear, or `_SLOW` times as slow, is worth nothing. What the others are beyond that changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, log, log10
from typing import TYPE_CHECKING

from gemini_backend.models.catalogue_schema import ModelLifecycle
from gemini_backend.models.measured import Availability, Measured
from gemini_backend.models.requirements import Criterion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date, datetime

    from gemini_backend.models.catalogue_schema import CatalogueEntry
    from gemini_backend.models.registry import Known
    from gemini_backend.models.use_cases import Weights

_USEFUL = 0.5
_LACKING = 2.0
_DEAR, _SLOW = 30.0, 10.0
_FAILURES, _DEGRADED = 0.5, 0.2
_PREVIEW, _SURPASSED, _RISING = 0.1, 0.1, 0.05
# An end in a year or later takes away a tenth of this, one of today all of it.
_ENDING, _YEAR_DAYS, _FAR = 0.3, 365, 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that meets every requirement; a cost is of one request, times are seconds.

    `rise` is the day from which a request costs something else, and what.
    """

    known: Known
    entry: CatalogueEntry
    seen: Measured
    cost: int | None
    first_token: float | None
    latency: float | None
    measured: bool
    thoughts: int = 0
    rise: tuple[date, int] | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """What one criterion added to a score."""

    criterion: Criterion
    contribution: float
    message: str


def reasons_for(
    one: Candidate, among: Sequence[Candidate], weights: Weights, at: datetime
) -> tuple[Reason, ...]:
    """Return what speaks for and against a model, the weightiest first."""
    quality = min(1.0, max(0.0, (one.entry.quality - _USEFUL) / (1 - _USEFUL)))
    cheap = _standing(one.cost, [other.cost for other in among], _DEAR)
    quick = _standing(one.latency, [other.latency for other in among], _SLOW)
    rated = f"its quality is rated {one.entry.quality:.2f} of 1"
    reasons = [
        Reason(Criterion.QUALITY, weights.quality * quality, rated),
        Reason(Criterion.COST, weights.cost * cheap, _price(one)),
        Reason(Criterion.LATENCY, weights.latency * quick, _speed(one)),
        *_lacking(one.entry.quality, weights.good_enough),
        *_rise(one),
        *_doubts(one, at),
        *_surpassed(one, among, at),
    ]
    return tuple(sorted(reasons, key=lambda reason: -abs(reason.contribution)))


def dollars(nano: int) -> str:
    """Return an amount of 10^-9 US dollars as people read it."""
    amount = nano / 1e9
    digits = max(2, 2 - floor(log10(amount))) if amount else 0
    return f"${amount:.{digits}f}"


def _lacking(quality: float, enough: float) -> Iterator[Reason]:
    if quality < enough:
        words = f"{quality:.2f} is less than {enough:.2f}, the minimum for this use case"
        yield Reason(Criterion.QUALITY, -_LACKING * (enough - quality), words)


def _price(one: Candidate) -> str:
    if one.cost is None:
        return "its price is unknown"
    thoughts = f", {one.thoughts:,} tokens of thoughts included" if one.thoughts else ""
    return f"a request costs {dollars(one.cost)}{thoughts}"


def _speed(one: Candidate) -> str:
    source = "measured by this server" if one.measured else "estimated"
    return (
        "the time of a whole answer is unknown"
        if one.latency is None
        else f"a whole answer takes {one.latency:.3g} s, {source}"
    )


def _rise(one: Candidate) -> Iterator[Reason]:
    if one.rise is not None and one.cost is not None:
        day, cost = one.rise
        against = -_RISING if cost > one.cost else 0.0
        yield Reason(Criterion.COST, against, f"from {day} a request costs {dollars(cost)}")


def _doubts(one: Candidate, at: datetime) -> Iterable[Reason]:
    failed = one.seen.error_ratio
    if failed:
        words = f"{failed:.0%} of its recent executions failed"
        yield Reason(Criterion.AVAILABILITY, -_FAILURES * failed, words)
    if one.seen.availability in {Availability.DEGRADED, Availability.UNAVAILABLE}:
        words = f"currently {one.seen.availability.value}"
        yield Reason(Criterion.AVAILABILITY, -_DEGRADED, words)
    if one.known.listed is None and one.known.asked:
        words = "the upstream does not list it for the configured key"
        yield Reason(Criterion.AVAILABILITY, -_DEGRADED, words)
    entry = one.entry
    if entry.shutdown is not None:
        share = max(_FAR, min(1.0, 1 - (entry.shutdown - at.date()).days / _YEAR_DAYS))
        words = f"it will be shut down on {entry.shutdown}"
        yield Reason(Criterion.LIFECYCLE, -_ENDING * share, words)
    elif entry.lifecycle(at) is ModelLifecycle.DEPRECATED:
        yield Reason(Criterion.LIFECYCLE, -_ENDING * _FAR, "it is deprecated")
    if entry.preview:
        words = "it is a preview and may change or be removed at short notice"
        yield Reason(Criterion.LIFECYCLE, -_PREVIEW, words)


def _surpassed(one: Candidate, among: Sequence[Candidate], at: datetime) -> Iterator[Reason]:
    """Tell of the best model, here to stay, that is better and neither dearer nor slower."""
    better = [other for other in among if _surpasses(other, one, at)]
    if better:
        best = max(better, key=lambda other: other.entry.quality)
        words = f"{best.entry.name} is rated higher, and is neither more expensive nor slower"
        yield Reason(Criterion.QUALITY, -_SURPASSED, words)


def _surpasses(other: Candidate, one: Candidate, at: datetime) -> bool:
    if other.entry.lifecycle(at) is not ModelLifecycle.STABLE or other.cost is None:
        return False
    if other.latency is None or one.cost is None or one.latency is None:
        return False
    if other.seen.availability in {Availability.DEGRADED, Availability.UNAVAILABLE}:
        return False
    rated = other.entry.quality > one.entry.quality
    return rated and other.cost <= one.cost and other.latency <= one.latency


def _standing(value: float | None, others: Sequence[float | None], worthless: float) -> float:
    """Return 1 for the least of all, 0 for what is so many times as much, or not known."""
    known = [max(other, 1e-9) for other in others if other is not None]
    if value is None or not known:
        return 0.0
    return max(0.0, 1 - log(max(value, 1e-9) / min(known)) / log(worthless))
