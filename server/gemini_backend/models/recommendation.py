"""Which model fits: those that meet every requirement, ranked, each with its reasons.

A score is a weighted mean of quality, price and speed, each from 0 to 1 among the models that are
left, less what failures of late take away. What a use case weighs stands in `USE_CASES`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log
from typing import TYPE_CHECKING

from gemini_backend.models.entries import Lifecycle
from gemini_backend.models.needs import Criterion, Needs, problems
from gemini_backend.models.prices import estimate
from gemini_backend.models.seen import NOTHING, Availability, Seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from gemini_backend.models.entries import Capability, Medium
    from gemini_backend.models.registry import Known

# Fewer measured executions than this say less than what is published.
_ENOUGH_SAMPLES = 5
_PREFERRED = 4.0
_FAILURES, _DEGRADED = 0.5, 0.2


@dataclass(frozen=True, slots=True)
class UseCase:
    """What a use case needs, and what weighs how much."""

    quality: float
    cost: float
    latency: float
    capabilities: tuple[Capability, ...] = ("generate_content",)
    media: tuple[Medium, ...] = ()
    input_tokens: int = 1000


USE_CASES: dict[str, UseCase] = {
    "any": UseCase(0.4, 0.3, 0.3),
    "chat": UseCase(0.5, 0.2, 0.3, ("generate_content", "stream_generate_content")),
    "coding": UseCase(0.7, 0.15, 0.15),
    "reasoning": UseCase(0.85, 0.1, 0.05),
    "summarization": UseCase(0.35, 0.4, 0.25),
    "extraction": UseCase(0.4, 0.4, 0.2, ("generate_content", "json_schema")),
    "classification": UseCase(0.2, 0.5, 0.3, ("generate_content", "json_mode")),
    "translation": UseCase(0.45, 0.35, 0.2),
    "creative_writing": UseCase(0.65, 0.2, 0.15),
    "agent": UseCase(0.6, 0.2, 0.2, ("generate_content", "function_calling")),
    "multimodal": UseCase(0.5, 0.25, 0.25, media=("image",)),
    "long_context": UseCase(0.5, 0.35, 0.15, input_tokens=200_000),
    "high_volume": UseCase(0.1, 0.7, 0.2),
    "embedding": UseCase(0.5, 0.4, 0.1, ("embed_content",)),
}
PREFERENCES = ("balanced", "quality", "cost", "latency")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model is needed for; times are seconds, costs 10^-9 US dollars a request."""

    use_case: str = "any"
    needs: Needs = field(default_factory=Needs)
    output_tokens: int = 500
    max_cost: int | None = None
    max_first_token: float | None = None
    max_latency: float | None = None
    preference: str = "balanced"
    include_preview: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """What one criterion added to a score."""

    criterion: Criterion
    contribution: float
    message: str


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


@dataclass(frozen=True, slots=True)
class _Candidate:
    known: Known
    seen: Seen
    cost: int | None
    first_token: float | None
    latency: float | None
    measured: bool


def recommend(
    models: Iterable[Known],
    wanted: Wanted,
    at: datetime,
    seen: Callable[[str], Seen] = lambda _: NOTHING,
) -> tuple[list[Recommended], list[Excluded]]:
    """Return the models that fit, best first, and those that do not, by name."""
    case = USE_CASES[wanted.use_case]
    needs = Needs(
        tuple(dict.fromkeys((*case.capabilities, *wanted.needs.capabilities))),
        tuple(dict.fromkeys((*case.media, *wanted.needs.media))),
        wanted.needs.input_tokens or case.input_tokens,
        0 if wanted.use_case == "embedding" else wanted.output_tokens,
    )
    candidates, excluded = [], []
    for known in models:
        candidate = _candidate(known, needs, at, seen(known.name))
        missed = _missed(candidate, needs, wanted, at)
        if missed is None:
            candidates.append(candidate)
        else:
            excluded.append(Excluded(known.name, *missed))
    weights = _weights(case, wanted.preference)
    ranked = [_scored(candidate, candidates, weights) for candidate in candidates]
    ranked.sort(key=lambda one: (-one.score, one.known.name))
    return ranked, excluded


def _candidate(known: Known, needs: Needs, at: datetime, seen: Seen) -> _Candidate:
    entry = known.entry
    cost = None if entry is None else estimate(entry, needs.input_tokens, needs.output_tokens, at)
    measured = seen.samples >= _ENOUGH_SAMPLES
    first, speed = (seen.first_token_p50, seen.tokens_per_second) if measured else (None, None)
    if first is None and entry is not None and entry.first_token_ms:
        first = entry.first_token_ms / 1000
    if not speed and entry is not None:
        speed = entry.tokens_per_second
    latency = None
    if first is not None:
        latency = first + (needs.output_tokens / speed if speed else 0.0)
    return _Candidate(known, seen, cost, first, latency, measured)


def _missed(
    one: _Candidate, needs: Needs, wanted: Wanted, at: datetime
) -> tuple[Criterion, str] | None:
    """Return the requirement that a model misses, None where it misses none."""
    entry = one.known.entry
    if entry is None:
        return Criterion.CAPABILITY, "what it can do is not known"
    for problem in problems(one.known, needs, at, one.seen):
        if problem.blocking:
            return problem.criterion, problem.message
    if entry.lifecycle(at) is Lifecycle.PREVIEW and not wanted.include_preview:
        return Criterion.LIFECYCLE, "it is a preview, and previews were not asked for"
    return _too_dear(one, wanted) or _too_slow(one, wanted)


def _too_dear(one: _Candidate, wanted: Wanted) -> tuple[Criterion, str] | None:
    if wanted.max_cost is None or (one.cost is not None and one.cost <= wanted.max_cost):
        return None
    if one.cost is None:
        return Criterion.COST, "its price is not known, so it may be above the budget"
    return Criterion.COST, f"a request costs {_dollars(one.cost)}, above the budget"


def _too_slow(one: _Candidate, wanted: Wanted) -> tuple[Criterion, str] | None:
    for limit, expected, what in (
        (wanted.max_first_token, one.first_token, "the first token"),
        (wanted.max_latency, one.latency, "a whole answer"),
    ):
        if limit is not None and (expected is None or expected > limit):
            told = "not known" if expected is None else f"{expected:.3g} s"
            return Criterion.LATENCY, f"{what} takes {told}, and may take {limit:.3g} s"
    return None


def _weights(case: UseCase, preference: str) -> tuple[float, float, float]:
    weights = {"quality": case.quality, "cost": case.cost, "latency": case.latency}
    if preference in weights:
        weights[preference] *= _PREFERRED
    total = sum(weights.values())
    return weights["quality"] / total, weights["cost"] / total, weights["latency"] / total


def _scored(
    one: _Candidate, among: Sequence[_Candidate], weights: tuple[float, float, float]
) -> Recommended:
    quality = _quality(one)
    good = [_quality(other) for other in among]
    spread = max(good) - min(good)
    better = 1.0 if not spread else (quality - min(good)) / spread
    cheap = _standing(one.cost, [other.cost for other in among])
    quick = _standing(one.latency, [other.latency for other in among])
    price = (
        "its price is not known" if one.cost is None else f"a request costs {_dollars(one.cost)}"
    )
    source = "measured here" if one.measured else "estimated"
    speed = "not known" if one.latency is None else f"{one.latency:.3g} s, {source}"
    reasons = [
        Reason(Criterion.QUALITY, weights[0] * better, f"its quality is rated {quality:.2f} of 1"),
        Reason(Criterion.COST, weights[1] * cheap, price),
        Reason(Criterion.LATENCY, weights[2] * quick, f"a whole answer takes {speed}"),
        *_doubts(one),
    ]
    score = min(1.0, max(0.0, sum(reason.contribution for reason in reasons)))
    reasons.sort(key=lambda reason: -abs(reason.contribution))
    return Recommended(
        one.known, score, one.cost, one.first_token, one.latency, one.measured, tuple(reasons)
    )


def _quality(one: _Candidate) -> float:
    return 0.0 if one.known.entry is None else one.known.entry.quality


def _doubts(one: _Candidate) -> Iterable[Reason]:
    failed = one.seen.error_ratio
    if failed:
        words = f"{failed:.0%} of its executions failed of late"
        yield Reason(Criterion.AVAILABILITY, -_FAILURES * failed, words)
    if one.seen.availability in {Availability.DEGRADED, Availability.UNAVAILABLE}:
        words = f"at present {one.seen.availability.value}"
        yield Reason(Criterion.AVAILABILITY, -_DEGRADED, words)
    entry = one.known.entry
    if entry is not None and entry.shutdown is not None:
        words = f"it will be shut down on {entry.shutdown}"
        yield Reason(Criterion.LIFECYCLE, -_DEGRADED, words)


def _standing(value: float | None, others: Sequence[float | None]) -> float:
    """Return 1 for the least of all, 0 for the most, by orders of magnitude; 0 for unknown."""
    known = [max(other, 1e-9) for other in others if other is not None]
    if value is None or not known:
        return 0.0
    low, high = log(min(known)), log(max(known))
    return 1.0 if high == low else (high - log(max(value, 1e-9))) / (high - low)


def _dollars(nano: int) -> str:
    return f"${nano / 1e9:.3g}"
