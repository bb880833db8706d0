"""What the executions that were paid for have cost, and how fast they were, by the model.

What came out of the cache, or was shared, is left out: it says nothing of a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.models.measured import NOTHING, Availability, Seen
from gemini_backend.telemetry.events import OK, ExecutionFinished
from gemini_backend.telemetry.metrics.digest import MAX_WINDOW_SECONDS, Ring, merged, new_digest
from gemini_backend.telemetry.metrics.metric_families import MODEL, Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastdigest import TDigest

    from gemini.backend.v1.content_pb2 import Usage
    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus
    from gemini_backend.telemetry.metrics.snapshots import Stats

_NANO = 1e9
# An answer that came within less than this after its first token says nothing of the speed.
_MEASURABLE_SECONDS = 0.1
# Shares of failed executions from which a model counts as degraded, and as not answering.
_DEGRADED_RATIO, _UNAVAILABLE_RATIO = 0.1, 0.9


class _Pace:
    """What was measured in one slot of time."""

    __slots__ = ("count", "first_token", "latency", "seconds", "thoughts", "tokens")

    def __init__(self) -> None:
        self.first_token: TDigest = new_digest()
        self.latency: TDigest = new_digest()
        self.count = 0
        self.thoughts = 0
        self.tokens = 0
        self.seconds = 0.0


class PaidExecutions:
    """Listens to executions; bounded, for it knows models of the catalogue only."""

    def __init__(self, clock: Clock, name_of: Callable[[str], str | None]) -> None:
        """Count from now on.

        Args:
            clock: Times the slots.
            name_of: Returns the name in the catalogue of a model or a served version, or None.
        """
        self._clock = clock
        self._name_of = name_of
        self._paces: dict[str, Ring[_Pace]] = {}
        self._costs: dict[str, int] = {}

    @property
    def cost_nano_usd(self) -> int:
        """What everything has cost since the start, as far as prices are known."""
        return sum(self._costs.values())

    def listen(self, bus: Bus) -> None:
        """Count what is published from now on."""
        bus.subscribe(ExecutionFinished, self._execution_finished)

    def _execution_finished(self, event: ExecutionFinished) -> None:
        """Count one execution, by the model that served."""
        if not event.pays or event.usage is None:
            return
        name = self._name_of(event.served_model or event.model)
        if name is None:
            return
        if event.cost_nano_usd:
            self._add(name, event.cost_nano_usd)
        if event.code == OK:
            self._pace(name, event, event.usage)

    def _pace(self, name: str, event: ExecutionFinished, usage: Usage) -> None:
        """Note how fast an execution was that went well."""
        ring = self._paces.get(name)
        if ring is None:
            ring = self._paces[name] = Ring(_Pace)
        pace = ring.at(self._clock.now())
        pace.count += 1
        pace.thoughts += usage.thoughts_token_count
        pace.latency.update(event.seconds)
        if event.first_token_seconds is None:
            return
        pace.first_token.update(event.first_token_seconds)
        writing = event.seconds - event.first_token_seconds
        if writing >= _MEASURABLE_SECONDS:
            pace.tokens += usage.candidates_token_count
            pace.seconds += writing

    def spent(self, model: str, nano_usd: int) -> None:
        """Count the cost of what is no execution."""
        name = self._name_of(model)
        if name is not None:
            self._add(name, nano_usd)

    def seen(self, name: str, recent: Stats, *, broken: bool) -> Seen:
        """Return what was measured of a model in the last five minutes.

        Args:
            name: Its name in the catalogue.
            recent: How its executions ended.
            broken: Whether its circuit is open.
        """
        counts, judged = recent.counts, recent.counts.succeeded + recent.counts.failed
        failed = counts.failed / judged if judged else None
        availability = Availability.UNAVAILABLE if broken else _availability(failed)
        ring = self._paces.get(name)
        paces = [] if ring is None else ring.recent(self._clock.now(), MAX_WINDOW_SECONDS)
        count = sum(pace.count for pace in paces)
        if not count and availability is Availability.UNKNOWN:
            return NOTHING
        first = merged(pace.first_token for pace in paces)
        latency = merged(pace.latency for pace in paces)
        seconds = sum(pace.seconds for pace in paces)
        return Seen(
            availability=availability,
            first_token_p50=_quantile(first, 0.5),
            first_token_p95=_quantile(first, 0.95),
            latency_p50=_quantile(latency, 0.5),
            latency_p95=_quantile(latency, 0.95),
            tokens_per_second=sum(pace.tokens for pace in paces) / seconds if seconds else None,
            thoughts=sum(pace.thoughts for pace in paces) / count if count else None,
            error_ratio=failed,
            samples=count,
        )

    def figures(self) -> Iterator[Figure]:
        """Yield what executions have cost, by model."""
        costs = {(name,): nano / _NANO for name, nano in self._costs.items()}
        said = "Cost in US dollars of completed calls, by the model whose prices apply."
        yield Figure("counter", "cost_usd", said, costs, (MODEL,))

    def _add(self, name: str, nano_usd: int) -> None:
        self._costs[name] = self._costs.get(name, 0) + nano_usd


def _availability(failed: float | None) -> Availability:
    if failed is None:
        return Availability.UNKNOWN
    if failed >= _UNAVAILABLE_RATIO:
        return Availability.UNAVAILABLE
    return Availability.DEGRADED if failed >= _DEGRADED_RATIO else Availability.AVAILABLE


def _quantile(digest: TDigest | None, share: float) -> float | None:
    return None if digest is None else float(digest.quantile(share))
