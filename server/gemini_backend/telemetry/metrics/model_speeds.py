"""How fast models are, by the executions of the last minutes that were paid for and went well.

What came out of the cache, or was shared, says nothing of a model's speed; nor do embeddings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.call import Work
from gemini_backend.models.measured import NOTHING, Measured
from gemini_backend.telemetry.events import OK, ExecutionFinished
from gemini_backend.telemetry.metrics.digest import MAX_WINDOW_SECONDS, Ring, merged, new_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastdigest import TDigest

    from gemini_backend.clock import Clock
    from gemini_backend.telemetry.events import Bus

_EMBEDDING = Work.EMBEDDING
# An answer that came within less than this after its first token says nothing of the speed.
_MEASURABLE_SECONDS = 0.1


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


class ModelSpeeds:
    """Measures; bounded, for it knows models of the catalogue only."""

    def __init__(self, clock: Clock, name_of: Callable[[str], str | None]) -> None:
        """Measure from now on.

        Args:
            clock: Times the slots.
            name_of: Returns the name in the catalogue of a model or a served version, or None.
        """
        self._clock = clock
        self._name_of = name_of
        self._paces: dict[str, Ring[_Pace]] = {}

    def listen(self, bus: Bus) -> None:
        """Measure what is published from now on."""
        bus.subscribe(ExecutionFinished, self._execution_finished)

    def _execution_finished(self, event: ExecutionFinished) -> None:
        """Measure one execution, by the model that served."""
        usage = event.usage
        if not event.pays or usage is None or event.code != OK or event.work is _EMBEDDING:
            return
        name = self._name_of(event.served_model or event.model)
        if name is None:
            return
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

    def of(self, name: str) -> Measured:
        """Return what was measured in the last five minutes of a model of the catalogue.

        Its availability is for others to judge, and stays unknown.
        """
        ring = self._paces.get(name)
        paces = [] if ring is None else ring.recent(self._clock.now(), MAX_WINDOW_SECONDS)
        count = sum(pace.count for pace in paces)
        if not count:
            return NOTHING
        first = merged(pace.first_token for pace in paces)
        latency = merged(pace.latency for pace in paces)
        seconds = sum(pace.seconds for pace in paces)
        return Measured(
            first_token_p50=_quantile(first, 0.5),
            first_token_p95=_quantile(first, 0.95),
            latency_p50=_quantile(latency, 0.5),
            latency_p95=_quantile(latency, 0.95),
            tokens_per_second=sum(pace.tokens for pace in paces) / seconds if seconds else None,
            thoughts=sum(pace.thoughts for pace in paces) / count,
            samples=count,
        )


def _quantile(digest: TDigest | None, share: float) -> float | None:
    return None if digest is None else float(digest.quantile(share))
