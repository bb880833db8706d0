"""The share of all calls that may be hedged, so that hedges leave the budget to retries."""

from __future__ import annotations

from gemini_backend.policies.flow import SlidingCounts

WINDOW_SECONDS = 10.0


class HedgeShare:
    """Allows so many second attempts for the calls of the last ten seconds."""

    def __init__(self) -> None:
        """Begin without any calls."""
        self._seen = SlidingCounts(WINDOW_SECONDS)

    def call(self, now: float) -> None:
        """Note a call, which earns its share of a second attempt."""
        self._seen.hit(now)

    def spend(self, now: float, ratio: float, min_per_second: float) -> bool:
        """Take one second attempt out of the share; say whether there was one.

        Args:
            now: Seconds on the clock of all calls.
            ratio: Second attempts for each call of the window.
            min_per_second: Second attempts per second whatever the calls are.
        """
        seen = self._seen
        seen.slide(now)
        if seen.misses + 1 > ratio * seen.hits + min_per_second * WINDOW_SECONDS:
            return False
        seen.miss(now)
        return True
