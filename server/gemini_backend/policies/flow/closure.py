"""A quota that is closed for long is tried from time to time: it opens without a restart."""

from __future__ import annotations

import math

_LONGEST_PROBE_SECONDS = 3600.0


class Closure:
    """Until when upstream has closed a quota, and when a call may try it all the same.

    One call is let through after the time between probes, which doubles with each refusal up to an
    hour. An answer opens the quota for all.
    """

    __slots__ = ("_every", "_trying", "probe_at", "until")

    def __init__(self) -> None:
        """Begin open."""
        self.until = -math.inf
        self.probe_at = math.inf
        self._every = 0.0
        self._trying = False

    def seconds(self, now: float) -> float:
        """Return for how long it is closed."""
        return max(0.0, self.until - now)

    def close(self, until: float, probe_seconds: float, now: float) -> None:
        """Close it; the next probe is later where the last one was refused."""
        if now < self.until and not self._trying:
            self.until = max(self.until, until)  # sent before it was closed
            return
        self._every = (
            min(2 * self._every, _LONGEST_PROBE_SECONDS) if self._trying else probe_seconds
        )
        self._trying = False
        self.until, self.probe_at = max(self.until, until), now + self._every

    def take_probe(self, now: float) -> bool:
        """Say whether this call is let through to try; the next one may after a while."""
        if now >= self.until or now < self.probe_at:
            return False
        self.probe_at, self._trying = now + self._every, True
        return True

    def open(self) -> None:
        """Open it."""
        self.until, self.probe_at, self._trying = -math.inf, math.inf, False
