"""Whoever follows a tape, at a place of its own and within the deadline of its call."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ServiceError
from gemini_backend.policies.attempts import deadline_passed

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.policies.sharing.replay_buffer import ReplayBuffer


class Reader:
    """One follower of a tape.

    Attributes:
        place: How many events are behind it.
        done: Bytes of those.
        raw: Whether it is given bytes.
    """

    __slots__ = ("_alarm", "_buffer", "_call", "_late", "_waiter", "done", "place", "raw")

    def __init__(
        self, buffer: ReplayBuffer, call: Call, clock: Clock, after: int, *, raw: bool
    ) -> None:
        """Stand after so many events of `buffer`."""
        self._buffer = buffer
        self._call = call
        self._waiter: asyncio.Future[None] | None = None
        self._late = False
        self.raw = raw
        self.place = after
        self.done = buffer.total - buffer.size_from(after)
        self._alarm: Alarm | None = None
        left = call.remaining(clock.now())
        if left is not None:
            self._alarm = clock.alarm(left, self._ring)

    async def read(self) -> Any:
        """Return the next event; None at the end of a run that ended well.

        Raises:
            DeadlinePassed: the call's own deadline passed.
            Overloaded: it read so slowly that the event was let go.
            ServiceError: the run failed; each reader gets an error of its own.
        """
        buffer = self._buffer
        while True:
            if self._late:
                raise deadline_passed(self._call)
            if self.place < buffer.length:
                return buffer.read_by(self)
            if buffer.ended:
                if buffer.error is not None:
                    raise fresh(buffer.error)
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    @property
    def at_the_end(self) -> bool:
        """Whether it has read all that there will be."""
        return self._buffer.ended and self.place >= self._buffer.length

    def wake(self) -> None:
        """Look again."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """Leave the tape."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._buffer.leave(self)

    def _ring(self) -> None:
        self._alarm, self._late = None, True
        self.wake()


def fresh(error: BaseException) -> BaseException:
    """Return an error that the layers of one call may write into without the others seeing it."""
    if not isinstance(error, ServiceError):
        return error
    own = copy.copy(error)
    own.metadata = dict(error.metadata)
    if error.failure is not None:
        own.failure = type(error.failure)()
        own.failure.CopyFrom(error.failure)
    return own
