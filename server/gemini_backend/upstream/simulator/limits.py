"""Quotas that are really kept, as Gemini keeps them: per project and model."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.faults import bodies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gemini_backend.upstream.simulator.faults.script import Limit

MINUTE = 60.0
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """What rules and quotas look at in a request."""

    method: str
    model: str
    prompt: str
    key: str
    tokens: int = 0


class _Window:
    """At most so much within so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._events: deque[tuple[float, int]] = deque()
        self._sum = 0

    def wait(self, now: float, amount: int) -> float:
        """Seconds until ``amount`` fits; 0 if it does now."""
        while self._events and self._events[0][0] <= now - self._seconds:
            self._sum -= self._events.popleft()[1]
        over = self._sum + amount - self._most
        for at, size in self._events:
            if over <= 0:
                break
            over -= size
            until = at + self._seconds - now
            if over <= 0:
                return until
        return self._seconds if over > 0 else 0.0

    def add(self, now: float, amount: int) -> None:
        self._events.append((now, amount))
        self._sum += amount


class Quotas:
    """All quotas of a script; each model that a pattern matches has counts of its own."""

    def __init__(self, limits: Sequence[Limit], now: Callable[[], float]) -> None:
        """Starts with nothing used.

        Args:
            limits: The quotas.
            now: The clock, in seconds.
        """
        self._limits = limits
        self._now = now
        self._windows: dict[tuple[int, str, str], _Window] = {}

    def take(self, arrival: Arrival) -> None:
        """Counts a request.

        Raises:
            ApiError: 429 if a quota is used up; the request then counts for none.
        """
        now = self._now()
        taken: list[tuple[_Window, int]] = []
        for index, limit in enumerate(self._limits):
            if limit.model and not re.fullmatch(limit.model, arrival.model):
                continue
            for name, most, seconds, amount in (
                ("requests", limit.requests_per_minute, MINUTE, 1),
                ("tokens", limit.tokens_per_minute, MINUTE, arrival.tokens),
                ("day", limit.requests_per_day, DAY, 1),
            ):
                if not most:
                    continue
                key = (index, arrival.model, name)
                window = self._windows.setdefault(key, _Window(most, seconds))
                wait = window.wait(now, amount)
                if wait:
                    raise bodies.over_quota(name, most, arrival.model, wait)
                taken.append((window, amount))
        for window, amount in taken:
            window.add(now, amount)
