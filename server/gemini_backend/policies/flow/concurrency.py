"""How many attempts may run at once: so many, or as many as upstream bears."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.config.sections.flow import AdmissionOptions

_UNSAID_MAXIMUM = 1000
# How much later than usual first pieces may come before the limit shrinks.
_TOLERANCE = 2.0
_LEAST_GRADIENT = 0.5
_SMOOTHING = 0.2
_BACKOFF = 0.9
_USUAL_WEIGHT = 0.005
_LATEST_WEIGHT = 0.1


class ConcurrencyLimit(Protocol):
    """Says how many may run, and learns how they fared."""

    def value(self) -> int | None:
        """Return how many may run at once; None for any number."""
        ...

    def began(self, kind: str, seconds: float, running: int) -> None:
        """Learn after how many seconds an answer of a kind began, with so many running."""
        ...

    def failed(self) -> None:
        """Learn that upstream failed in a way that speaks of overload."""
        ...


class FixedLimit:
    """As many as are configured."""

    def __init__(self, options: Callable[[], AdmissionOptions]) -> None:
        """Read the options anew each time."""
        self._options = options

    def value(self) -> int | None:
        """Return what is configured; None for 0."""
        return self._options().max_concurrent_requests or None

    def began(self, _kind: str, _seconds: float, _running: int) -> None:
        """Learn nothing."""

    def failed(self) -> None:
        """Learn nothing."""


class GradientLimit:
    """Follows the gradient of the time to the first piece of an answer.

    While answers begin about as soon as usual there is room for the square root of the limit
    more; when they begin later than `_TOLERANCE` times the usual, the limit shrinks by as much as
    they are late, to a half at most, and by a tenth at each failure that speaks of overload. It
    does not grow while less than half of it is used. It stays within the configured bounds.
    """

    def __init__(self, options: Callable[[], AdmissionOptions]) -> None:
        """Begin at the smallest limit."""
        self._options = options
        self._value = float(options().min_concurrent_requests)
        self._times: dict[str, _Times] = {}

    def value(self) -> int | None:
        """Return the limit as it is now."""
        return int(self._bounded(self._value))

    def began(self, kind: str, seconds: float, running: int) -> None:
        """Follow the gradient; whole answers and streams are each compared with their own."""
        times = self._times.setdefault(kind, _Times(seconds, seconds))
        times.take(seconds)
        if running < self._value / 2:
            return
        gradient = min(1.0, max(_LEAST_GRADIENT, times.headroom()))
        wanted = self._value * gradient + math.sqrt(self._value)
        self._value = self._bounded(_mixed(self._value, wanted, _SMOOTHING))

    def failed(self) -> None:
        """Shrink by a tenth."""
        self._value = self._bounded(self._value * _BACKOFF)

    def _bounded(self, value: float) -> float:
        options = self._options()
        most = options.max_concurrent_requests or _UNSAID_MAXIMUM
        return float(min(most, max(min(options.min_concurrent_requests, most), value)))


@dataclass(slots=True)
class _Times:
    """How soon answers of one kind begin: as usual, and of late."""

    usual: float
    latest: float

    def take(self, seconds: float) -> None:
        """Take a time into both averages."""
        self.usual = _mixed(self.usual, seconds, _USUAL_WEIGHT)
        self.latest = _mixed(self.latest, seconds, _LATEST_WEIGHT)
        if self.usual > _TOLERANCE * self.latest:
            self.usual *= 0.95  # it was slow for long: find back to what is usual now

    def headroom(self) -> float:
        """Return how many times later answers might begin; below 1 they begin too late."""
        return _TOLERANCE * self.usual / self.latest if self.latest > 0 else 1.0


def _mixed(old: float, new: float, weight: float) -> float:
    return old + weight * (new - old)
