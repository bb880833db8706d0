"""Who has the turn of each session: one execution at a time, the others refused or in line."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from gemini.backend.v1.session_service_pb2 import SessionConcurrency
from gemini_backend.errors import Conflict, Overloaded
from gemini_backend.policies.attempts import deadline_passed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.stores.sessions import SessionKey

_Place = tuple["asyncio.Future[None]", str]  # who waits, and what the request is known by
_REFUSE = SessionConcurrency.SESSION_CONCURRENCY_REFUSE


class HeldTurn:
    """The right to read a session, run on it, and write it; whoever has it gives it back once.

    `waited` is how many seconds that took to come.
    """

    __slots__ = ("_give_back", "_key", "_line", "waited")

    def __init__(
        self,
        key: SessionKey,
        line: _Line,
        waited: float,
        give_back: Callable[[SessionKey, _Line], None],
    ) -> None:
        """Hold the turn of one session."""
        self.waited = waited
        self._key = key
        self._line: _Line | None = line
        self._give_back = give_back

    def settle(self, own: SessionConcurrency.ValueType, configured: str) -> None:
        """Say whether others may wait, now that it is known what the session itself says.

        The same request, repeated, always may.
        """
        refuses = own == _REFUSE if own else configured == "refuse"
        line = self._line
        if not refuses or line is None:
            return
        line.refuses = True
        for waiter, request_id in line.waiting:
            if not waiter.done() and not line.is_at_work(request_id):
                waiter.set_exception(_taken(self._key.session))
        line.waiting = deque(one for one in line.waiting if line.is_at_work(one[1]))

    def is_awaited(self) -> bool:
        """Say whether a repetition of the request waits for its end."""
        line = self._line
        return line is not None and any(line.is_at_work(one) for _, one in line.waiting)

    def give_back(self) -> None:
        """Let the next one have it; does nothing the second time."""
        line, self._line = self._line, None
        if line is not None:
            self._give_back(self._key, line)


class TurnLock:
    """The lines of all sessions that are at work in this process, first come first served.

    A line is as long as `most_waiting` says; whoever comes then is refused.
    """

    def __init__(self, most_waiting: Callable[[], int], clock: Clock) -> None:
        """Ask for the bound anew each time."""
        self._most_waiting = most_waiting
        self._clock = clock
        self._lines: dict[SessionKey, _Line] = {}

    def __len__(self) -> int:
        """Return how many sessions are at work."""
        return len(self._lines)

    async def take(self, key: SessionKey, call: Call, request_id: str = "") -> HeldTurn:
        """Return the turn, at once or when everybody before has given it back.

        Args:
            key: Of which session.
            call: Who waits, and until when.
            request_id: What the request is known by; empty for nothing.

        Raises:
            Conflict: somebody has it, and nobody may wait.
            Overloaded: too many wait.
            DeadlinePassed: the call's deadline passed meanwhile.
        """
        line, began = self._lines.get(key), self._clock.now()
        if line is None:
            line = self._lines[key] = _Line()
        else:
            await self._wait(key, line, call, request_id)
        line.refuses, line.request_id = False, request_id
        return HeldTurn(key, line, self._clock.now() - began, self._pass_on)

    async def _wait(self, key: SessionKey, line: _Line, call: Call, request_id: str) -> None:
        if line.refuses and not line.is_at_work(request_id):
            raise _taken(key.session)
        most = self._most_waiting()
        if len(line.waiting) >= most:
            raise Overloaded(
                f"{len(line.waiting)} executions wait for session {key.session!r} and at most "
                f"{most} may wait (sessions.max_waiting); send its turns one after another"
            )
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (waiter, request_id)
        line.waiting.append(place)
        try:
            async with self._clock.timeout(call.remaining(self._clock.now())):
                await waiter
        except TimeoutError:
            self._leave(key, line, place)
            raise deadline_passed(call) from None
        except asyncio.CancelledError:
            self._leave(key, line, place)
            raise

    def _leave(self, key: SessionKey, line: _Line, place: _Place) -> None:
        """Go away without the turn; pass it on where it had come already."""
        waiter = place[0]
        if not waiter.done() or waiter.cancelled():
            if place in line.waiting:
                line.waiting.remove(place)
        elif waiter.exception() is None:
            self._pass_on(key, line)

    def _pass_on(self, key: SessionKey, line: _Line) -> None:
        while line.waiting:
            waiter, _ = line.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        del self._lines[key]


class _Line:
    """Who waits for one session, whether that is allowed, and which request is at work."""

    __slots__ = ("refuses", "request_id", "waiting")

    def __init__(self) -> None:
        self.refuses = False
        self.request_id = ""
        self.waiting: deque[_Place] = deque()

    def is_at_work(self, request_id: str) -> bool:
        return bool(request_id) and request_id == self.request_id


def _taken(session: str) -> Conflict:
    return Conflict(
        f"another execution runs on session {session!r}, which refuses concurrent executions; wait "
        "until it ends, or create the session with concurrency QUEUE"
    )
