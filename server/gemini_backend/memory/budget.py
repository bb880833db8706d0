"""One budget for the bytes in flight: requests, answers, what is kept so that streams can resume.

What is there already is counted and never waits. Work that multiplies it waits for room
(`requests.py`, `bodies.py`), and whoever keeps what can be had again lets some of it go first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from gemini_backend.errors import Overloaded
from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock

RETRY_SECONDS: Final = 1.0
"""When whoever was refused may try again: large requests are worked on within about that time."""


class Purpose(Enum):
    """What bytes are there for; the value is its label in metrics.

    Large requests that are worked on, and those that wait for that; answers of the model API that
    are read as a whole; events that wait for readers; events that are kept.
    """

    REQUESTS = "requests"
    WAITING = "waiting"
    BODIES = "bodies"
    ANSWERS = "answers"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class MemoryState:
    """How the budget stands: bytes, and how many calls were refused for want of them.

    `refused_at` is when the last one was, on `Clock.now()`; None for never.
    """

    limit: int
    used: dict[str, int]
    refused: int
    refused_at: float | None


class Account:
    """The bytes of one purpose. Changes are counted at once and never wait."""

    __slots__ = ("_budget", "bytes")

    def __init__(self, budget: MemoryBudget) -> None:
        """Count none yet."""
        self._budget = budget
        self.bytes = 0

    def change(self, by: int) -> None:
        """Count so many bytes more, or fewer where `by` is negative."""
        self.bytes += by
        self._budget.changed(by)

    def hand_on(self, size: int) -> None:
        """Count so many bytes fewer for somebody in particular: nobody is told of room."""
        self.bytes -= size
        self._budget.used -= size
        self._budget.freed += size


class MemoryBudget:
    """Counts the bytes in flight by purpose."""

    def __init__(self, limit: Callable[[], int], clock: Clock) -> None:
        """Read the limit, in bytes, anew each time; tell times by `clock`."""
        self._limit = limit
        self._clock = clock
        self._accounts = {purpose: Account(self) for purpose in Purpose}
        self._givers: list[Callable[[int], None]] = []
        self._takers: list[Callable[[], None]] = []
        self._refused_at: float | None = None
        self.refused = 0
        self.used = 0
        self.freed = 0  # bytes in all

    @property
    def limit(self) -> int:
        """The most bytes; 1 or more."""
        return self._limit()

    def account(self, purpose: Purpose) -> Account:
        """Return the account of a purpose."""
        return self._accounts[purpose]

    def give_way(self, let_go: Callable[[int], None]) -> None:
        """Ask `let_go` to free about so many bytes whenever there is not enough room."""
        self._givers.append(let_go)

    def tell_of_room(self, freed: Callable[[], None]) -> None:
        """Call `freed` whenever there is more room than before."""
        self._takers.append(freed)

    def changed(self, by: int) -> None:
        """Take note of so many bytes more, or fewer."""
        self.used += by
        if by < 0:
            self.freed -= by
            for freed in self._takers:
                freed()
        elif self._givers and (over := self.used - self._limit()) > 0:
            self.make_room(over)

    def make_room(self, size: int) -> None:
        """Have about so many bytes freed of what can be had again; none where it is not above 0."""
        if size > 0:
            for let_go in self._givers:
                let_go(size)

    def refusal(self, why: str) -> Overloaded:
        """Count a refusal and return it; `why` ends its first sentence."""
        self.refused += 1
        self._refused_at = self._clock.now()
        return Overloaded(
            f"the server uses the {self._limit() / MIB:.0f} MiB that it may for calls in progress "
            f"(server.max_memory_mb) and {why}; retry later, send less at once, or raise the limit",
            retry_after=RETRY_SECONDS,
        )

    def state(self) -> MemoryState:
        """Tell how it stands."""
        return MemoryState(
            limit=self._limit(),
            used={purpose.value: one.bytes for purpose, one in self._accounts.items()},
            refused=self.refused,
            refused_at=self._refused_at,
        )
