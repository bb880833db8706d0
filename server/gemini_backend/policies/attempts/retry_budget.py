"""A budget of attempts beyond the first, so that they never become a storm of their own."""

from __future__ import annotations

from gemini_backend.policies.flow import SlidingCounts

WINDOW_SECONDS = 10.0


class RetryBudget:
    """Allows so many further attempts for the calls of the last ten seconds."""

    def __init__(self) -> None:
        """Begin without any calls."""
        self._seen = SlidingCounts(WINDOW_SECONDS)

    def call(self, now: float) -> None:
        """Note a call, which earns its share of a further attempt."""
        self._seen.hit(now)

    def spend(self, now: float, ratio: float, min_per_second: float) -> bool:
        """Take one further attempt out of the budget; say whether there was one.

        Args:
            now: Seconds on the clock of all calls.
            ratio: Further attempts for each call of the window.
            min_per_second: Further attempts a second whatever the calls are.
        """
        seen = self._seen
        seen.slide(now)
        if seen.misses + 1 > ratio * seen.hits + min_per_second * WINDOW_SECONDS:
            return False
        seen.miss(now)
        return True
