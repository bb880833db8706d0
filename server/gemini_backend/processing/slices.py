"""Long work in slices: between two of them the event loop serves everybody else.

What takes time in proportion to a caller's message would otherwise keep all others waiting. All
such work of one event loop stands in one line: however many callers send large messages at once,
the loop does one slice of one of them, then everything else that is due, then one of the next.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self
from weakref import WeakKeyDictionary

from gemini_backend.errors import DeadlinePassed
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from types import TracebackType

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock

LARGE: Final = 16 * KIB
"""Messages of more bytes are worked on in slices; for others that would cost more than it helps."""
PIECE: Final = 1024 * KIB
"""Bytes of one text or medium that are converted at a time."""
_SLICE_SECONDS = 0.004


class Slices:
    """The scope of long work for one call, which holds the loop's place in the line.

    It is for work that waits for nothing but its turn, and must not span a `yield`.
    """

    __slots__ = ("_call", "_clock", "_held", "_line", "_until")

    def __init__(self, call: Call, clock: Clock) -> None:
        """Work for `call`, which ends when its deadline passes; `clock` times the slices."""
        self._call = call
        self._clock = clock
        self._line = _line()
        self._held = False
        self._until = 0.0

    async def __aenter__(self) -> Self:
        """Wait for the first slice.

        Raises:
            DeadlinePassed: it did not come in time.
        """
        await self._line.take()
        self._held = True
        try:
            self._begin()
        except DeadlinePassed:
            self._leave()
            raise
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Leave the line."""
        self._leave()

    async def pause(self) -> None:
        """Let others run if this slice has been long enough; to be called every few microseconds.

        Raises:
            DeadlinePassed: the call has no time left.
        """
        if self._clock.now() >= self._until:
            await self.rest()

    async def rest(self) -> None:
        """Let others run now, before or after a step that is long by itself.

        Raises:
            DeadlinePassed: the call has no time left.
        """
        if self._line.is_awaited:
            self._leave()
            await self._line.take()
            self._held = True
        else:
            await asyncio.sleep(0)
        self._begin()

    def _begin(self) -> None:
        now = self._clock.now()
        if self._call.remaining(now) == 0:
            raise DeadlinePassed(
                "the call's deadline passed while its message was being read and converted; set a "
                "later deadline, or send less"
            )
        self._until = now + _SLICE_SECONDS

    def _leave(self) -> None:
        if self._held:
            self._held = False
            self._line.give()


class _Line:
    """Lets one at a time pass, in the order in which they came."""

    __slots__ = ("__weakref__", "_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    async def take(self) -> None:
        if not self._taken:
            self._taken = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:  # it had been given the turn
                self.give()
            raise

    def give(self) -> None:
        """Give the turn to who has waited longest; a cancelled one leaves by itself."""
        for at, turn in enumerate(self._waiting):
            if not turn.done():
                del self._waiting[at]
                turn.set_result(None)
                return
        self._taken = False


_LINES: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()


def _line() -> _Line:
    loop = asyncio.get_running_loop()
    found = _LINES.get(loop)
    if found is None:
        found = _LINES[loop] = _Line()
    return found
