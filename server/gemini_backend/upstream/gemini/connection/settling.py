"""How long a connection settles before it is used again."""

from __future__ import annotations

_LONGEST_SECONDS = 1.0
_DOUBT_SECONDS = 60.0


class Settling:
    """The time for which a connection counts as in use after an answer, in seconds.

    It is longer while the other side sends what nobody asked for: it doubles each time, up to a
    second, and is as it was after a minute without.
    """

    __slots__ = ("_latest_stray", "_now", "_usually")

    def __init__(self, seconds: float) -> None:
        """Begin with the time that is set; 0 stays 0."""
        self._usually = self._now = seconds
        self._latest_stray = 0.0

    def seconds(self, now: float) -> float:
        """Return how long a connection whose answer ends `now` has to settle."""
        if self._now > self._usually and now - self._latest_stray > _DOUBT_SECONDS:
            self._now = self._usually
        return self._now

    def stray(self, now: float, idle_seconds: float) -> None:
        """Take note that something came unasked on a connection that had been idle for so long."""
        # what comes later, such as a 408 for the long silence, no settling would wait for
        if idle_seconds < _LONGEST_SECONDS:
            self._now = min(self._now * 2, max(_LONGEST_SECONDS, self._usually))
            self._latest_stray = now
