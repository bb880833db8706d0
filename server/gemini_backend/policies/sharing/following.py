"""Calls that follow a flight, and those that wait until they can."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini_backend.policies.attempts import deadline_passed

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.sharing.flight import Flight
    from gemini_backend.policies.sharing.reader import Reader


class Following:
    """One call on board, and the events that it reads off the tape.

    Attributes:
        call: The call.
        reader: Where it reads; None as long as it needs no tape.
    """

    __slots__ = ("_flight", "call", "reader")
    resumable = True

    def __init__(self, flight: Flight, call: Call) -> None:
        """Take a place."""
        self._flight = flight
        self.call = call
        self.reader: Reader | None = None

    @property
    def at_the_end(self) -> bool:
        """Whether it has been told all that there will be."""
        return self.reader is not None and self.reader.at_the_end

    def __aiter__(self) -> Following:
        """Iterate."""
        return self

    async def __anext__(self) -> Any:
        """Return the next event; leave at the end, and with a failure.

        Raises:
            DeadlinePassed: the call's own deadline passed.
            Overloaded: it read so slowly that the event was let go.
            ServiceError: the run failed.
        """
        reader, flight = self.reader, self._flight
        if reader is None:
            raise StopAsyncIteration
        try:
            event = await reader.read()
        except asyncio.CancelledError:
            raise
        except BaseException:
            await flight.leave(self)
            raise
        if event is None:
            await flight.leave(self)
            raise StopAsyncIteration
        if reader.place == flight.end_place:
            flight.subscribers.tell_end(self)
        return event

    async def aclose(self) -> None:
        """Leave."""
        await self._flight.leave(self)


class Waiting:
    """One call that waits until a stream is parted from its only reader, by its own deadline."""

    __slots__ = ("_alarm", "_among", "_call", "_late", "_woken")

    def __init__(self, call: Call, clock: Clock, among: set[Waiting]) -> None:
        """Stand among those that wait."""
        self._call = call
        self._among = among
        self._late = False
        self._woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        left = call.remaining(clock.now())
        self._alarm = None if left is None else clock.alarm(left, self._ring)

    async def wait(self) -> None:
        """Wait to be woken.

        Raises:
            DeadlinePassed: the call's own deadline passed first.
        """
        self._among.add(self)
        try:
            await self._woken
        finally:
            self._among.discard(self)
            if self._alarm is not None:
                self._alarm.cancel()
        if self._late:
            raise deadline_passed(self._call)

    def wake(self) -> None:
        """Let it look again."""
        if not self._woken.done():
            self._woken.set_result(None)

    def _ring(self) -> None:
        self._late = True
        self.wake()
