"""Counting: what happened in one slot of time, and what happened since the start."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from gemini_backend.telemetry.metrics.digest import SLOT_SECONDS, Ring, merged, new_digest
from gemini_backend.telemetry.metrics.snapshots import Counts, Latency, Stats, Tokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastdigest import TDigest

    # When it ended, how long it took, its time to the first token, its tokens.
    _Ended = tuple[float, float, float | None, Sequence[int] | None]

OK = "OK"
CANCELLED = "CANCELLED"
_MOST_NOTED = 64
KINDS = ("prompt", "cached", "candidates", "thoughts", "tool_use")
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class SeriesTotals:
    """What ended in one slot: outcomes (`OK`, `CANCELLED` or a reason), times, tokens."""

    __slots__ = ("first_token", "latency", "outcomes", "tokens")

    def __init__(self) -> None:
        """Begin at nothing."""
        self.outcomes: dict[str, int] = {}
        self.tokens = [0] * len(KINDS)
        self.latency: TDigest = new_digest()
        self.first_token: TDigest | None = None

    def add(self, outcome: str, seconds: list[float], first_token: list[float]) -> None:
        """Count several more; their tokens are added by whoever adds them to the whole as well."""
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + len(seconds)
        self.latency.batch_update(seconds)
        if first_token:
            if self.first_token is None:
                self.first_token = new_digest()
            self.first_token.batch_update(first_token)


class Histogram:
    """Times since the start, counted by upper bound; the last one is for all that is longer."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        """Begin at nothing."""
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def add(self, *times: float) -> None:
        """Count some more."""
        counts = self.counts
        for seconds in times:
            counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += sum(times)


class Counted:
    """All that is kept of one method or of one model: the recent past, and the whole."""

    __slots__ = (
        "first_token",
        "last_failure",
        "last_failure_reason",
        "last_success",
        "latency",
        "outcomes",
        "ring",
        "tokens",
    )

    def __init__(self) -> None:
        """Begin at nothing."""
        self.ring: Ring[SeriesTotals] = Ring(SeriesTotals)
        self.outcomes: dict[tuple[str, str], int] = {}
        self.latency = Histogram()
        self.first_token = Histogram()
        self.tokens = [0] * len(KINDS)
        self.last_success: float | None = None
        self.last_failure: float | None = None
        self.last_failure_reason = ""

    def add(self, code: str, outcome: str, ended: list[_Ended]) -> None:
        """Count what ended within one slot of time, in this way, in the order in which it did."""
        now = ended[-1][0]
        slot = self.ring.at(now)
        times = [seconds for _, seconds, _, _ in ended]
        waits = [first for _, _, first, _ in ended if first is not None]
        slot.add(outcome, times, waits)
        self.outcomes[code, outcome] = self.outcomes.get((code, outcome), 0) + len(ended)
        self.latency.add(*times)
        self.first_token.add(*waits)
        if outcome == OK:
            self.last_success = now
        elif outcome != CANCELLED:
            self.last_failure, self.last_failure_reason = now, outcome
        used = [tokens for _, _, _, tokens in ended if tokens is not None]
        for index, counts in enumerate(zip(*used, strict=True)):
            total = sum(counts)
            slot.tokens[index] += total
            self.tokens[index] += total


class Series:
    """What is counted of one method or of one model.

    What ends is only noted. It is counted when somebody asks, or when enough of the same is noted
    or something else follows: many together take a fraction of the time.
    """

    __slots__ = ("_code", "_counted", "_noted", "_outcome", "_until", "in_flight")

    def __init__(self) -> None:
        """Begin at nothing."""
        self._counted = Counted()
        self._noted: list[_Ended] = []
        self._code = self._outcome = ""
        self._until = 0.0
        self.in_flight = 0

    def add(
        self,
        now: float,
        code: str,
        outcome: str,
        seconds: float,
        *,
        first_token: float | None = None,
        tokens: Sequence[int] | None = None,
    ) -> None:
        """Note one that ended at `now`, by its gRPC code and its outcome; times are seconds."""
        noted = self._noted
        if noted and not (
            outcome == self._outcome
            and code == self._code
            and now < self._until
            and len(noted) < _MOST_NOTED
        ):
            self._count()
        if not noted:
            self._code, self._outcome = code, outcome
            self._until = (int(now / SLOT_SECONDS) + 1) * SLOT_SECONDS
        noted.append((now, seconds, first_token, tokens))

    @property
    def counted(self) -> Counted:
        """All of it."""
        if self._noted:
            self._count()
        return self._counted

    def _count(self) -> None:
        self._counted.add(self._code, self._outcome, self._noted)
        self._noted.clear()


def stats_of(tallies: Iterable[SeriesTotals], covered: float, in_flight: int) -> Stats:
    """Return the figures of all tallies together, which cover so many seconds."""
    kept = list(tallies)
    outcomes: Counter[str] = Counter()
    for tally in kept:
        outcomes.update(tally.outcomes)
    tokens = _tokens([tally.tokens for tally in kept])
    return Stats(
        counts=_counts(outcomes, covered),
        errors=_errors(outcomes),
        latency=_latency(merged(tally.latency for tally in kept)),
        first_token=_latency(merged(t.first_token for t in kept if t.first_token is not None)),
        tokens=tokens,
        tokens_per_second=tokens.total / covered if covered > 0 else 0.0,
        in_flight=in_flight,
    )


def totals_of(series: Iterable[Series], uptime: float, in_flight: int) -> Stats:
    """Return the counts and tokens of all series since the start; no percentiles."""
    kept = list(series)
    outcomes: Counter[str] = Counter()
    for one in kept:
        for (_, outcome), count in one.counted.outcomes.items():
            outcomes[outcome] += count
    tokens = _tokens([one.counted.tokens for one in kept])
    return Stats(
        counts=_counts(outcomes, uptime),
        errors=_errors(outcomes),
        latency=Latency(),
        first_token=Latency(),
        tokens=tokens,
        tokens_per_second=tokens.total / uptime if uptime > 0 else 0.0,
        in_flight=in_flight,
    )


def _counts(outcomes: Counter[str], covered: float) -> Counts:
    total, succeeded, cancelled = outcomes.total(), outcomes[OK], outcomes[CANCELLED]
    return Counts(
        succeeded=succeeded,
        failed=total - succeeded - cancelled,
        cancelled=cancelled,
        per_second=total / covered if covered > 0 else 0.0,
    )


def _errors(outcomes: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(pair for pair in outcomes.most_common() if pair[0] not in {OK, CANCELLED})


def _tokens(rows: list[list[int]]) -> Tokens:
    return Tokens(*(sum(column) for column in zip(*rows, strict=True)))


def _latency(digest: TDigest | None) -> Latency:
    if digest is None:
        return Latency()
    p50, p90, p95, p99 = (digest.quantile(q) for q in (0.5, 0.9, 0.95, 0.99))
    return Latency(
        count=digest.n_values,
        mean=digest.mean(),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        max=digest.max(),
    )
