"""How soon answers have begun of late, for each model."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemini_backend.telemetry.metrics.digest import Ring, merged, new_digest

if TYPE_CHECKING:
    from fastdigest import TDigest

MAX_KEYS = 1000
WINDOW_SECONDS = 60.0
_KEPT_SECONDS = 1.0


@dataclass(slots=True)
class _Times:
    """The times of one key, and the answer to the latest question."""

    ring: Ring[TDigest] = field(default_factory=lambda: Ring(new_digest))
    asked: float = float("-inf")
    question: tuple[float, int] = (0.0, 0)
    answer: float | None = None


class LatencyQuantiles:
    """Quantiles over the last minute; looked up anew once a second at most.

    At most `MAX_KEYS` keys are known; beyond them the one not timed for longest is forgotten.
    """

    def __init__(self) -> None:
        """Begin without any times."""
        self._keys: OrderedDict[str, _Times] = OrderedDict()

    def note(self, key: str, seconds: float, now: float) -> None:
        """Take a time into account."""
        times = self._keys.get(key)
        if times is None:
            times = self._keys[key] = _Times()
            if len(self._keys) > MAX_KEYS:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
        times.ring.at(now).update(seconds)

    def within(self, key: str, quantile: float, minimum: int, now: float) -> float | None:
        """Return the seconds within which such a share began; None for fewer than a minimum."""
        times = self._keys.get(key)
        if times is None:
            return None
        question = (quantile, minimum)
        if now - times.asked >= _KEPT_SECONDS or times.question != question:
            digest = merged(times.ring.recent(now, WINDOW_SECONDS))
            if digest is None or digest.n_values < minimum:
                times.answer = None
            else:
                times.answer = float(digest.quantile(quantile))
            times.asked, times.question = now, question
        return times.answer
