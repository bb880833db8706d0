"""Room for large requests: they are worked on only as many at once as the budget has room for."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from gemini_backend.memory.budget import Purpose
from gemini_backend.memory.waiting import Waiter, WaitingLine

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.memory.budget import MemoryBudget

_SMALL_SHARE: Final = 64
_SPARED_SHARE: Final = 16
_OWNER_SHARE: Final = 0.75


class RequestHold:
    """What one large request takes, from when it may be worked on until it is released."""

    __slots__ = ("_owner", "_rest", "_room", "_size", "_working", "bytes")

    def __init__(self, room: RequestRoom, owner: str, size: int) -> None:
        """Hold so many bytes."""
        self._room = room
        self._owner = owner
        self._size = size
        self._rest = size
        self._working = 1
        self.bytes = 0
        self._resize(size)

    def read(self, rest: int) -> None:
        """The request has been read; it takes so many bytes whenever it is not converted."""
        self._rest = rest
        self._working = 0

    def convert(self) -> None:
        """It is about to be converted for the model API; each time ends with `sent`."""
        self._working += 1
        if self.bytes < self._size:
            self._resize(self._size)

    def converted(self, size: int) -> None:
        """It was converted to so many bytes, and to nothing else beside them."""
        if self._working == 1:
            self._resize(min(self.bytes, self._rest + size))

    def sent(self) -> None:
        """What it was converted to is needed no more."""
        self._working -= 1
        if not self._working:
            self._resize(self._rest)

    def release(self) -> None:
        """Hold nothing any more; does nothing the second time."""
        if self.bytes:
            self._resize(0)
            self._size = self._rest = 0

    def _resize(self, size: int) -> None:
        by, self.bytes = size - self.bytes, size
        self._room.owns(self._owner, by)


HELD: ContextVar[RequestHold | None] = ContextVar("gemini_backend_request_hold", default=None)
"""What the large request that this task works on holds; None for all others."""


class RequestRoom:
    """Lets requests in while all that is counted stays within the limit.

    Where not even one would fit, one at a time is let in, so that there is always progress. Owners
    take turns; while there are several, none gets more than three quarters of the limit. Small
    requests (a 64th of the limit) go first, and a sixteenth of it is left for them. Those that wait
    hold at most as much again as the limit says; beyond it the newest of the owner that holds the
    most there gives way, or else the newcomer is refused.
    """

    def __init__(self, budget: MemoryBudget, clock: Clock) -> None:
        """Let in what fits `budget`; wait on `clock`."""
        self._budget = budget
        self._clock = clock
        self._account = budget.account(Purpose.REQUESTS)
        self._waiting = budget.account(Purpose.WAITING)
        self._owned: dict[str, int] = {}
        self._small, self._large = WaitingLine(), WaitingLine()
        budget.tell_of_room(self._serve)

    async def enter(
        self, owner: str, arrived: int, size: int, seconds: float | None
    ) -> RequestHold:
        """Return what a request holds, once there is room for the work on it.

        Args:
            owner: Who sent it.
            arrived: Bytes that are there already, and wait with it.
            size: The most bytes that it takes while it is worked on, those included.
            seconds: How long it may wait; None for any time.

        Raises:
            Overloaded: there was no room in time, or others needed it more.
        """
        line = self._small if size <= self._budget.limit // _SMALL_SHARE else self._large
        waiter = Waiter(owner, arrived, size, asyncio.get_running_loop().create_future())
        self._budget.make_room(self._in_use() + size - self._ceiling(size))
        if self._next(line) is None and not self._over_share(waiter) and self._fits(waiter):
            return RequestHold(self, owner, size)
        if not self._may_wait(waiter):
            raise self._budget.refusal("too much waits for memory already")
        self._waiting.change(arrived)
        line.add(waiter)
        try:
            async with self._clock.timeout(seconds):
                hold: RequestHold | None = await waiter.ready
        except TimeoutError:
            self._leave(line, waiter)
            raise self._budget.refusal("there was no room for it before its deadline") from None
        except asyncio.CancelledError:
            self._leave(line, waiter)
            raise
        if hold is None:
            raise self._budget.refusal("others needed the room that it waited for")
        return hold

    def owns(self, owner: str, by: int) -> None:
        """Take note of what an owner's requests hold."""
        owned = self._owned.get(owner, 0) + by
        if owned:
            self._owned[owner] = owned
        else:
            self._owned.pop(owner, None)
        self._account.change(by)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._small.count + self._large.count

    def _in_use(self) -> int:
        return self._budget.used - self._waiting.bytes

    def _ceiling(self, size: int) -> int:
        """Return up to how many bytes may be in use with a request of such a size among them."""
        limit = self._budget.limit
        return limit if size <= limit // _SMALL_SHARE else limit - limit // _SPARED_SHARE

    def _fits(self, waiter: Waiter) -> bool:
        return not self._owned or self._in_use() + waiter.size <= self._ceiling(waiter.size)

    def _over_share(self, waiter: Waiter) -> bool:
        """Say whether its owner holds so much that others come first."""
        owned, limit = self._owned.get(waiter.owner, 0), self._budget.limit
        if not owned or waiter.size <= limit // _SMALL_SHARE:
            return False
        alone = len(self._owned) == 1 and not self._large.others_than(waiter.owner)
        return not alone and owned + waiter.size > limit * _OWNER_SHARE

    def _next(self, line: WaitingLine) -> Waiter | None:
        """Return the one whose turn it is; None where nobody waits but for its own owner's."""
        return next((one for one in line.heads() if not self._over_share(one)), None)

    def _serve(self) -> None:
        """Let those in whose turn it is and who fit."""
        if not (self._small.count or self._large.count):  # as nearly always
            return
        for line in (self._small, self._large):
            while (waiter := self._next(line)) is not None and self._fits(waiter):
                self._take_out(line, waiter)
                if not waiter.ready.done():  # else its caller is just leaving
                    waiter.ready.set_result(RequestHold(self, waiter.owner, waiter.size))

    def _take_out(self, line: WaitingLine, waiter: Waiter) -> bool:
        """Take a waiter out; say whether it was there."""
        if not line.remove(waiter):
            return False
        self._waiting.hand_on(waiter.held)
        return True

    def _leave(self, line: WaitingLine, waiter: Waiter) -> None:
        """Take a waiter out; where it has just been let in, its room goes to the next one."""
        if self._take_out(line, waiter):
            self._serve()
        elif waiter.ready.done() and not waiter.ready.cancelled():
            hold = waiter.ready.result()
            if hold is not None:
                hold.release()

    def _may_wait(self, newcomer: Waiter) -> bool:
        """Make room among those who wait; say whether there is enough."""
        while self._waiting.bytes + newcomer.held > self._budget.limit:
            line = self._large if self._large.count else self._small
            most = line.newest_of_most()
            own = line.held.get(newcomer.owner, 0) + newcomer.held
            if most is None or line.held[most.owner] <= own:
                return most is None
            self._take_out(line, most)
            if not most.ready.done():
                most.ready.set_result(None)
        return True
