"""One budget for the bytes in flight: requests, answers, what is kept so that streams can resume.

What arrives by itself is counted when it is there. Work that multiplies it waits until there is
room. Whoever keeps what can be had again, such as the journal, lets some of it go first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from gemini_backend.errors import Overloaded
from gemini_backend.memory.waiting import Waiter, WaitingLine
from gemini_backend.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.clock import Clock

RETRY_SECONDS: Final = 1.0
"""When whoever was refused may try again: large requests are worked on within about that time."""
_SMALL_SHARE: Final = 64
_SPARED_SHARE: Final = 8
_OWNER_SHARE: Final = 0.75


class Purpose(Enum):
    """What bytes are there for; the value is its label in metrics."""

    REQUESTS = "requests"
    BODIES = "bodies"
    ANSWERS = "answers"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class MemoryState:
    """How the budget stands, in bytes; `refused_at` is when it last refused, None for never."""

    limit: int
    used: dict[str, int]
    waiting: int
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


class Hold:
    """What one owner holds for one piece of work; counted until it is released.

    `working` is set from when its need was met until it rests or is released.
    """

    __slots__ = ("_account", "_budget", "owner", "size", "working")

    def __init__(self, budget: MemoryBudget, account: Account, owner: str) -> None:
        """Hold nothing yet."""
        self._budget = budget
        self._account = account
        self.owner = owner
        self.size = 0
        self.working = False

    def resize(self, size: int) -> None:
        """Hold so many bytes from now on; never waits."""
        by, self.size = size - self.size, size
        self._budget.owns(self.owner, by)
        self._account.change(by)

    async def grow(self, by: int, seconds: float | None) -> None:
        """Hold more, once there is room for it; wait for that at most so many seconds.

        Raises:
            Overloaded: there was none in time, or others needed it more.
        """
        await self._budget.make_room_for(self, by, seconds)
        self.resize(self.size + by)

    def rest(self, size: int) -> None:
        """Hold so many bytes while nothing is done that needs more."""
        self._budget.stopped(self)
        self.resize(size)

    def release(self) -> None:
        """Hold nothing any more; does nothing the second time."""
        self.rest(0)


class MemoryBudget:
    """Counts the bytes in flight by purpose and owner, and lets large work wait for room.

    Work is let in while all that is counted stays within the limit; where it would not, one at a
    time is, so that there is always progress. What is needed is at most three quarters of the limit
    for one owner, and at most seven eighths for all but small needs (a 64th of the limit). Owners
    take turns. Those that wait hold at most as much as the limit says; beyond it the newest of the
    owner that holds the most gives way, or the newcomer is refused.
    """

    def __init__(self, limit: Callable[[], int], clock: Clock) -> None:
        """Read the limit, in bytes, anew each time; wait on `clock`."""
        self._limit = limit
        self._clock = clock
        self._accounts = {purpose: Account(self) for purpose in Purpose}
        self._owned: dict[str, int] = {}
        self._small, self._large = WaitingLine(), WaitingLine()
        self._working = 0
        self._spares: list[Callable[[int], None]] = []
        self._refused_at: float | None = None
        self.refused = 0
        self.used = 0

    def account(self, purpose: Purpose) -> Account:
        """Return the account of a purpose."""
        return self._accounts[purpose]

    def hold(self, purpose: Purpose, owner: str) -> Hold:
        """Return a hold of nothing; whoever takes it releases it."""
        return Hold(self, self._accounts[purpose], owner)

    def give_way(self, let_go: Callable[[int], None]) -> None:
        """Ask `let_go` to free about so many bytes whenever there is not enough room."""
        self._spares.append(let_go)

    def state(self) -> MemoryState:
        """Tell how it stands."""
        return MemoryState(
            limit=self._limit(),
            used={purpose.value: one.bytes for purpose, one in self._accounts.items()},
            waiting=self._small.count + self._large.count,
            refused=self.refused,
            refused_at=self._refused_at,
        )

    def changed(self, by: int) -> None:
        """Take note of so many bytes more, or fewer: then others may go on."""
        self.used += by
        if by > 0:
            if self.used > self._limit() and self._spares:
                self._spare(self.used - self._limit())
        elif self._small.count or self._large.count:
            self._serve()

    def owns(self, owner: str, by: int) -> None:
        """Take note of what an owner holds."""
        owned = self._owned.get(owner, 0) + by
        if owned:
            self._owned[owner] = owned
        else:
            self._owned.pop(owner, None)

    def stopped(self, hold: Hold) -> None:
        """Take note that a hold rests."""
        if hold.working:
            hold.working = False
            self._working -= 1
            self._serve()

    async def make_room_for(self, hold: Hold, by: int, seconds: float | None) -> None:
        """Wait until `by` bytes more may be held; the hold works from then on.

        Raises:
            Overloaded: there was no room in time, or others needed it more.
        """
        self.stopped(hold)  # others go on while it waits
        loop = asyncio.get_running_loop()
        waiter = Waiter(hold.owner, hold.size, by, loop.create_future())
        line = self._small if by <= self._limit() // _SMALL_SHARE else self._large
        over = self.used + by - self._ceiling(by)
        if over > 0:
            self._spare(over)
        if self._next(line) is None and not self._over_share(waiter) and self._fits(waiter):
            hold.working = True
            self._working += 1
            return
        if not self._may_wait(waiter):
            raise self._refusal("too much waits for memory already")
        line.add(waiter)
        try:
            async with self._clock.timeout(seconds):
                met = await waiter.ready
        except TimeoutError:
            self._leave(line, waiter)
            raise self._refusal("there was no memory for it before its deadline") from None
        except asyncio.CancelledError:
            self._leave(line, waiter)
            raise
        if not met:
            raise self._refusal("others needed the memory that it waited for")
        self.used -= by  # was set aside when the need was met, as was its place among those at work
        hold.working = True

    def _over_share(self, waiter: Waiter) -> bool:
        """Say whether its owner holds so much that others come first."""
        limit = self._limit()
        if not self._working or waiter.size <= limit // _SMALL_SHARE:
            return False
        return self._owned.get(waiter.owner, 0) + waiter.size > limit * _OWNER_SHARE

    def _ceiling(self, size: int) -> int:
        """Return up to how many bytes may be in use for a need of such a size to be met."""
        limit = self._limit()
        return limit if size <= limit // _SMALL_SHARE else limit - limit // _SPARED_SHARE

    def _fits(self, waiter: Waiter) -> bool:
        return not self._working or self.used + waiter.size <= self._ceiling(waiter.size)

    def _next(self, line: WaitingLine) -> Waiter | None:
        """Return the one whose turn it is; None where nobody waits but for its own owner's."""
        return next((one for one in line.heads() if not self._over_share(one)), None)

    def _serve(self) -> None:
        """Let those go on whose turn it is and whose need fits."""
        for line in (self._small, self._large):
            while (waiter := self._next(line)) is not None and self._fits(waiter):
                line.remove(waiter)
                if not waiter.ready.done():  # else its caller is just leaving
                    self.used += waiter.size
                    self._working += 1
                    waiter.ready.set_result(True)

    def _leave(self, line: WaitingLine, waiter: Waiter) -> None:
        """Take a waiter out; where its need has just been met, the room goes to the next one."""
        if line.remove(waiter):
            return
        if waiter.ready.done() and not waiter.ready.cancelled() and waiter.ready.result():
            self.used -= waiter.size
            self._working -= 1
        self._serve()

    def _may_wait(self, newcomer: Waiter) -> bool:
        """Make room among those who wait; say whether there is enough."""
        while self._large.bytes + self._small.bytes + newcomer.held > self._limit():
            line = self._large if self._large.count else self._small
            most = line.newest_of_most()
            own = line.held.get(newcomer.owner, 0) + newcomer.held
            if most is None or line.held[most.owner] <= own:
                return False
            line.remove(most)
            if not most.ready.done():
                most.ready.set_result(False)
        return True

    def _spare(self, over: int) -> None:
        for let_go in self._spares:
            let_go(over)

    def _refusal(self, why: str) -> Overloaded:
        self.refused += 1
        self._refused_at = self._clock.now()
        return Overloaded(
            f"the server uses the {self._limit() / MIB:.0f} MiB that it may for calls in progress "
            f"(server.max_memory_mb) and {why}; retry later, send less at once, or raise the limit",
            retry_after=RETRY_SECONDS,
        )
