"""Failures that may be due to what one caller asks for: they count once others have them too."""

from __future__ import annotations

from collections import Counter, deque

# Beyond so many the oldest are forgotten, which are then more than any circuit asks for.
MAX_FAILURES = 1000


class DoubtfulFailures:
    """Doubtful failures of the recent past, by caller.

    Those of one caller count only as often as all others have had some: a caller whose requests
    fail by themselves cannot speak for everybody, however often they fail. So where two callers
    or more meet a model that is down, its failures do count.
    """

    __slots__ = ("_by_caller", "_failures")

    def __init__(self) -> None:
        """Begin with none."""
        self._failures: deque[tuple[float, str]] = deque()
        self._by_caller: Counter[str] = Counter()

    def counts(self, caller: str, seconds: float, now: float) -> bool:
        """Note a failure; say whether it counts, by those of the last `seconds`."""
        while self._failures and (
            self._failures[0][0] <= now - seconds or len(self._failures) >= MAX_FAILURES
        ):
            self._forget_oldest()
        own = self._by_caller[caller]
        others = len(self._failures) - own
        self._failures.append((now, caller))
        self._by_caller[caller] += 1
        return own < others

    def _forget_oldest(self) -> None:
        _, caller = self._failures.popleft()
        self._by_caller[caller] -= 1
        if not self._by_caller[caller]:
            del self._by_caller[caller]
