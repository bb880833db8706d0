"""How the parts before upstream stand at one moment: frozen facts, free of any transport.

Policies and upstream tell them; health judges by them, and whoever shows them packs them. Times
are seconds on the clock of all calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class CircuitState(Enum):
    """What a circuit lets through."""

    CLOSED = "everything"
    OPEN = "no calls until its break is over"
    HALF_OPEN = "a few probes"


class QuotaKind(Enum):
    """What a quota counts."""

    REQUESTS_PER_MINUTE = "requests per minute"
    TOKENS_PER_MINUTE = "tokens per minute"
    REQUESTS_PER_DAY = "requests per day"


class KeyState(Enum):
    """Whether an upstream key can be used."""

    UNKNOWN = "never used so far"
    ACTIVE = "usable"
    THROTTLED = "a quota per minute is used up"
    EXHAUSTED = "a quota per day is used up"
    INVALID = "refused by upstream"


@dataclass(frozen=True, slots=True)
class CircuitStatus:
    """One circuit: that of the model `key`, for all upstream keys or for the one of an id.

    `calls` and `failures` are those of its window, or of the one in which it opened; `reason` is
    why the latest of the failures failed, empty for one that was only slow. `probe_at` is None
    unless it is open; `opened` says how many times it has opened.
    """

    key: str
    state: CircuitState
    since: float
    probe_at: float | None
    calls: int
    failures: int
    rejected: int
    key_id: str = ""
    reason: str = ""
    opened: int = 0


@dataclass(frozen=True, slots=True)
class QuotaStatus:
    """One quota of one model; `blocked_until` is None while upstream takes calls.

    `waiting` counts the calls that wait for the model's quota, `reason` is that of the refusal
    which closed it, `probe_at` when a call tries it before it opens.
    """

    model: str
    kind: QuotaKind
    capacity: int
    available: int
    learned: bool
    blocked_until: float | None
    project: str = ""
    waiting: int = 0
    reason: str = ""
    probe_at: float | None = None


@dataclass(frozen=True, slots=True)
class AdmissionState:
    """The queue and the slots; `limit` is None for any number, `queued` goes by priority.

    `refused_at` is when a call was refused last, None for never. `loop_delay` is how late the
    event loop is, in seconds.
    """

    running: int
    limit: int | None
    queued: tuple[int, ...]
    oldest_wait: float | None
    estimated_wait: float
    refused: int
    adaptive: bool = False
    max_queued: int = 0
    refused_at: float | None = None
    loop_delay: float = 0.0


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """One upstream key, by its id; the key itself is never told. `until` is None where open."""

    key_id: str
    project: str
    state: KeyState
    until: float | None
    in_flight: int
    succeeded: int
    failed: int
    last_failure_reason: str = ""


@dataclass(frozen=True, slots=True)
class JournalState:
    """What the journal keeps.

    `evicted` counts executions that went for want of room, `cut_at` is when one of them was still
    running, None for never.
    """

    executions: int
    max_executions: int
    bytes: int
    max_bytes: int
    evicted: int
    cut_at: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """All of it; None for a part that is off."""

    circuits: tuple[CircuitStatus, ...] = ()
    quotas: tuple[QuotaStatus, ...] = ()
    admission: AdmissionState | None = None
    keys: tuple[KeyStatus, ...] = ()
    journal: JournalState | None = None
    caching: bool | None = None
