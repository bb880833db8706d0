"""Figures as they were at one moment: frozen, free of any transport. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles of a time; all 0 where `count` is."""

    count: int = 0
    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What ended, by how it ended; `failed` leaves out what the caller cancelled."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    per_second: float = 0.0

    @property
    def total(self) -> int:
        """All that ended."""
        return self.succeeded + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens by kind; `cached` is part of `prompt`."""

    prompt: int = 0
    cached: int = 0
    candidates: int = 0
    thoughts: int = 0
    tool_use: int = 0

    @property
    def total(self) -> int:
        """All that was used; cached ones are counted once."""
        return self.prompt + self.candidates + self.thoughts + self.tool_use


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of executions or of calls; `errors` are reasons with counts, most frequent first."""

    counts: Counts
    errors: tuple[tuple[str, int], ...]
    latency: Latency
    first_token: Latency
    tokens: Tokens
    tokens_per_second: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class Performance:
    """The recent past.

    Attributes:
        start: When it begins, seconds since the epoch.
        end: When the figures were taken, seconds since the epoch.
        executions: All executions, or those of the model asked for.
        models: The same for each model by its short name, busiest first.
        methods: All calls for each method, busiest first.
        since_start: Executions since the process started; no percentiles.
    """

    start: float
    end: float
    executions: Stats
    models: tuple[tuple[str, Stats], ...]
    methods: tuple[tuple[str, Stats], ...]
    since_start: Stats


@dataclass(frozen=True, slots=True)
class Rates:
    """What ended per second over the last minute; failures leave out cancelled executions."""

    rpcs: float
    executions: float
    errors: float
    tokens: float
