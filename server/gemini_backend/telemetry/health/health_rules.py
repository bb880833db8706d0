"""How well things work, judged from facts; each verdict says why in a sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from gemini_backend.telemetry.component_status import CircuitState, KeyState, QuotaKind
from gemini_backend.telemetry.metrics import OK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gemini_backend.telemetry.component_status import (
        AdmissionState,
        CircuitStatus,
        JournalState,
        KeyStatus,
        QuotaStatus,
    )

# For how long after the last refusal, or loss, a part is not yet well again.
RECENT_SECONDS = 60.0
# For how long probes that succeeded speak for a model that nobody has asked since.
CURED_SECONDS = 300.0
# Below so many executions one failure says nothing about a model.
_FEW = 5
_DEGRADED_RATIO, _UNHEALTHY_RATIO = 0.1, 0.5
_CALLERS_OWN = ("CALLER_", "POLICY_")
# Refusals of ours that stand for failures of the upstream's.
_CIRCUIT_OPEN = "POLICY_CIRCUIT_OPEN"
# Failures of this server that say nothing of a model.
_OURS = frozenset({"BACKEND_DRAINING", "BACKEND_OUT_OF_DESCRIPTORS", "BACKEND_STORE_UNAVAILABLE"})
_UPSTREAMS = frozenset({_CIRCUIT_OPEN, "POLICY_QUOTA_EXHAUSTED"})
_TOLD = 3


class HealthState(IntEnum):
    """How well something works; the worse, the higher."""

    UNKNOWN = 0
    HEALTHY = 1
    DEGRADED = 2
    UNHEALTHY = 3


@dataclass(frozen=True, slots=True)
class HealthVerdict:
    """A state, and why; nothing where it is healthy."""

    state: HealthState
    message: str = ""


HEALTHY = HealthVerdict(HealthState.HEALTHY)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How executions ended that say something of the upstream: how many, and failures by reason."""

    executions: int
    failures: Counter[str]

    @classmethod
    def of(cls, counted: Mapping[str, int]) -> Outcomes:
        """Leave out what callers cancelled or did wrong, and what only our own rules refused."""
        failures = Counter({why: n for why, n in counted.items() if _upstreams_fault(why)})
        return cls(counted.get(OK, 0) + failures.total(), failures)

    @property
    def ratio(self) -> float:
        """Share of failures, 0 to 1; 0 without executions."""
        return self.failures.total() / self.executions if self.executions else 0.0

    def __add__(self, other: Outcomes) -> Outcomes:
        """Return both together."""
        return Outcomes(self.executions + other.executions, self.failures + other.failures)


NOTHING = Outcomes(0, Counter())


def worst(verdicts: Iterable[HealthVerdict]) -> HealthVerdict:
    """Return the worst state, with why of all that are not well, the worst first."""
    ordered = sorted(verdicts, key=lambda verdict: -verdict.state)
    if not ordered:
        return HealthVerdict(HealthState.UNKNOWN)
    bad = [one.message for one in ordered if one.state >= HealthState.DEGRADED]
    return HealthVerdict(ordered[0].state, "; ".join(bad) if bad else ordered[0].message)


def of_executions(outcomes: Outcomes) -> HealthVerdict:
    """Judge by the share of failures; below five executions the worst is degraded."""
    if not outcomes.executions:
        return HealthVerdict(HealthState.UNKNOWN)
    ratio = outcomes.ratio
    if ratio < _DEGRADED_RATIO:
        return HEALTHY
    bad = outcomes.executions >= _FEW and ratio >= _UNHEALTHY_RATIO
    # that the circuit is open says less than why it opened
    named = outcomes.failures.copy()
    refused = named.pop(_CIRCUIT_OPEN, 0)
    most = named.most_common(1)[0][0] if named else _CIRCUIT_OPEN
    message = f"{ratio:.0%} of {outcomes.executions} executions failed, most often by {most}"
    if named and refused:
        message += f"; {refused} were refused because a circuit is open"
    return HealthVerdict(HealthState.UNHEALTHY if bad else HealthState.DEGRADED, message)


def cured_at(circuits: Sequence[CircuitStatus]) -> float | None:
    """Return when the last of a model's circuits closed again; None where none did, or not all."""
    if any(one.state is not CircuitState.CLOSED for one in circuits):
        return None
    return max((one.since for one in circuits if one.opened), default=None)


def of_circuits(circuits: Sequence[CircuitStatus], now: float) -> HealthVerdict:
    """Judge one model by its circuits: open is unhealthy, unless it has a closed one as well."""
    shut = [one for one in circuits if one.state is CircuitState.OPEN]
    trying = [one for one in circuits if one.state is CircuitState.HALF_OPEN]
    if not (shut or trying):
        cured = cured_at(circuits)
        well = cured is not None and now - cured <= CURED_SECONDS
        return HEALTHY if well else HealthVerdict(HealthState.UNKNOWN)
    if not shut:
        return HealthVerdict(
            HealthState.DEGRADED, f"{_name(trying[0])} is being probed: {_why(trying[0])}"
        )
    first = min(shut, key=lambda one: one.probe_at or now)
    wait = max(0.0, (first.probe_at or now) - now)
    message = (
        f"{_name(first)} is not called because its circuit is open: {_why(first)}; next probe "
        f"in {_span(wait)}"
    )
    return HealthVerdict(
        HealthState.UNHEALTHY if len(shut) == len(circuits) else HealthState.DEGRADED, message
    )


def together(models: Sequence[HealthVerdict]) -> HealthVerdict:
    """Judge the upstream by the circuits of its models: it is down when all of them are."""
    bad = [one for one in models if one.state >= HealthState.DEGRADED]
    if not bad:
        return max(models, key=lambda one: one.state, default=HealthVerdict(HealthState.UNKNOWN))
    down = all(one.state is HealthState.UNHEALTHY for one in models)
    message = in_few_words([one.message for one in bad])
    return HealthVerdict(HealthState.UNHEALTHY if down else HealthState.DEGRADED, message)


def of_quotas(quotas: Sequence[QuotaStatus], projects: frozenset[str], now: float) -> HealthVerdict:
    """Judge one model by its quotas: without any for the day, in no project, it is unhealthy."""
    shut = [one for one in quotas if one.blocked_until is not None]
    waiting = sum({one.project: one.waiting for one in quotas}.values())
    if not shut:
        if not waiting:
            return HealthVerdict(HealthState.UNKNOWN)
        message = f"{waiting} calls wait for quota of {quotas[0].model}"
        return HealthVerdict(HealthState.DEGRADED, message)
    day = [one for one in shut if one.kind is QuotaKind.REQUESTS_PER_DAY]
    first = min(day or shut, key=lambda one: one.blocked_until or now)
    span = _span((first.blocked_until or now) - now)
    if not day:
        message = f"upstream throttles {first.model} for another {span}"
        message += f"; {waiting} calls wait" if waiting else ""
        return HealthVerdict(HealthState.DEGRADED, message)
    nowhere = projects <= {one.project for one in day}
    message = f"the quota per day of {first.model} is used up for another {span}"
    if first.probe_at is not None:
        message += f"; next probe in {_span(max(0.0, first.probe_at - now))}"
    return HealthVerdict(HealthState.UNHEALTHY if nowhere else HealthState.DEGRADED, message)


def of_keys(keys: Sequence[KeyStatus]) -> HealthVerdict:
    """Judge by the upstream's keys: with all refused nothing works."""
    states = Counter(key.state for key in keys)
    bad = [state for state in (KeyState.INVALID, KeyState.EXHAUSTED) if states[state]]
    if not bad:
        return HealthVerdict(HealthState.UNKNOWN)
    none_left = states[KeyState.INVALID] == len(keys)
    words = ", ".join(f"{states[state]} {state.value}" for state in bad)
    message = f"of {len(keys)} upstream keys: {words}"
    return HealthVerdict(HealthState.UNHEALTHY if none_left else HealthState.DEGRADED, message)


def of_admission(state: AdmissionState, now: float) -> HealthVerdict:
    """Judge the queue: refusals of the last minute degrade."""
    if state.refused_at is None or now - state.refused_at > RECENT_SECONDS:
        return HEALTHY
    queued = sum(state.queued)
    message = f"calls are refused a slot: {state.running} run and {queued} wait"
    if state.limit is not None:
        message += f", limits {state.limit} and {state.max_queued}"
    return HealthVerdict(HealthState.DEGRADED, message)


def of_journal(state: JournalState, now: float) -> HealthVerdict:
    """Judge the journal: running executions that it had to let go degrade for a minute."""
    if state.cut_at is None or now - state.cut_at > RECENT_SECONDS:
        return HEALTHY
    message = (
        "the journal is too small for the running executions, so some of them cannot be resumed; "
        "raise journal.max_size_mb or journal.max_executions"
    )
    return HealthVerdict(HealthState.DEGRADED, message)


def in_few_words(messages: Sequence[str]) -> str:
    """Return the first few messages, and how many more there are."""
    more = len(messages) - _TOLD
    return "; ".join(messages[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _upstreams_fault(why: str) -> bool:
    if why in _UPSTREAMS:
        return True
    return why not in {OK, "CANCELLED", *_OURS} and not why.startswith(_CALLERS_OWN)


def _name(circuit: CircuitStatus) -> str:
    return f"{circuit.key} with key {circuit.key_id}" if circuit.key_id else circuit.key


def _why(circuit: CircuitStatus) -> str:
    latest = f", the latest with {circuit.reason}" if circuit.reason else " or were too slow"
    return f"{circuit.failures} of {circuit.calls} attempts failed{latest}"


def _span(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.1f} s"  # noqa: PLR2004 - two minutes
