"""What happens to sessions, counted where it happens."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OUTCOMES = ("kept", "refused", "abandoned", "lost")
EVENTS = ("created", "deleted", "expired", "summarized")


@dataclass(slots=True)
class Visits:
    """Visits to the store for one purpose: how many, how long in all, how many failed."""

    count: int = 0
    seconds: float = 0.0
    failed: int = 0


class SessionCounts:
    """Counters that only grow, and how many sessions the store held when it was last looked at.

    A turn is `kept`; `refused` before the model was asked; `abandoned` where the execution failed
    or the caller left; or `lost` where the answer was there and could not be kept.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        self.sessions = 0
        self.turns = dict.fromkeys(OUTCOMES, 0)
        self.events = dict.fromkeys(EVENTS, 0)
        self.visits: dict[str, Visits] = {}

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Count a turn as refused when the body raises."""
        try:
            yield
        except BaseException:
            self.turns["refused"] += 1
            raise

    def watch(self, operation: str, seconds: float, *, failed: bool) -> None:
        """Count one visit to the store."""
        visits = self.visits.setdefault(operation, Visits())
        visits.count += 1
        visits.seconds += seconds
        visits.failed += failed
