"""A whole answer that several calls wait for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import CURRENT
from gemini_backend.policies.attempts import deadline_passed
from gemini_backend.policies.sharing.detached_run import cancelled
from gemini_backend.policies.sharing.reader import fresh

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.policies.sharing.flights import Flights, Likeness
    from gemini_backend.policies.sharing.subscribers import Subscribers

_COALESCED = pb.CACHE_STATUS_COALESCED


class WholeFlight:
    """One run of the rest in a task of its own, for which nobody's leaving is an end but the last.

    The first to be woken is given the answer itself; it is copied only where others wait.
    """

    __slots__ = (
        "_answer",
        "_began",
        "_clock",
        "_data",
        "_error",
        "_flights",
        "_like",
        "_passengers",
        "_task",
        "subscribers",
    )

    def __init__(
        self,
        subscribers: Subscribers,
        clock: Clock,
        like: Likeness,
        flights: Flights[WholeFlight],
    ) -> None:
        """Stand ready; `flights` is told when nobody else may join, and when all is over."""
        self.subscribers = subscribers
        self._clock = clock
        self._like = like
        self._flights = flights
        self._task: asyncio.Task[None] | None = None
        self._began = False
        self._passengers: list[_Passenger] = []
        self._answer: Any = None
        self._data: bytes | None = None
        self._error: BaseException | None = None

    def begin(self, call: Call, runs: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """Run; what is returned gives the answer to the first call, or raises the failure."""
        passenger = self._enter(call)
        self._task = asyncio.create_task(self._run(runs))
        return self._arrive(passenger)

    async def join(self, call: Call) -> Any:
        """Return the answer to another call.

        Raises:
            DeadlinePassed: the call's own deadline passed first.
            ServiceError: the run failed.
        """
        for waiting in self._passengers:
            waiting.keep_time(self._clock)
        passenger = self._enter(call)
        passenger.keep_time(self._clock)
        answer = await self._arrive(passenger)
        answer.started.cache_status = _COALESCED
        return answer

    async def cancel(self) -> None:
        """Stop, and come back when everything further in is closed."""
        self._close_doors()
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            if not self._began:  # then it runs nothing that could tell
                self._error = cancelled(self.subscribers.run)
                self._land()
            await asyncio.wait({task})

    def _close_doors(self) -> None:
        self._flights.close(self._like, self)

    def _enter(self, call: Call) -> _Passenger:
        passenger = _Passenger(call)
        self.subscribers.enter(passenger)
        self._passengers.append(passenger)
        return passenger

    async def _arrive(self, passenger: _Passenger) -> Any:
        try:
            await passenger.woken
            if passenger.late:
                raise deadline_passed(passenger.call)
            if self._error is not None:
                raise fresh(self._error)
            passenger.at_the_end = True
            self.subscribers.tell_end(passenger)
            return self._own()
        finally:
            passenger.close()
            self._passengers.remove(passenger)
            self.subscribers.leave(passenger)
            if not self._passengers and self._task is not None and not self._task.done():
                await self.cancel()

    def _own(self) -> Any:
        """Return an answer that nobody else has."""
        answer = self._answer
        if self._data is None:
            return answer
        data, self._data = self._data, None
        if len(self._passengers) > 1:
            answer, self._data = type(answer).FromString(data), data
        return answer

    async def _run(self, runs: Callable[[], Awaitable[Any]]) -> None:
        self._began = True
        CURRENT.set(self.subscribers.run)
        try:
            self._answer = await runs()
            if len(self._passengers) > 1:
                self._data = self._answer.SerializeToString()
        except asyncio.CancelledError:
            self._error = cancelled(self.subscribers.run)
            raise
        except Exception as failure:  # noqa: BLE001 - everybody is told, whatever it is
            self._error = failure
        finally:
            self._land()

    def _land(self) -> None:
        self._close_doors()
        self._flights.landed(self)
        for passenger in self._passengers:
            passenger.wake()


class _Passenger:
    """One call that waits; its own deadline counts once others wait as well."""

    __slots__ = ("_alarm", "at_the_end", "call", "late", "woken")

    def __init__(self, call: Call) -> None:
        self.call = call
        self.at_the_end = False
        self.late = False
        self.woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._alarm: Alarm | None = None

    def keep_time(self, clock: Clock) -> None:
        """Wait no longer than the call may; the run itself may last longer now."""
        left = self.call.remaining(clock.now())
        if left is not None and self._alarm is None:
            self._alarm = clock.alarm(left, self._ring)

    def wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)

    def close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self) -> None:
        self.late = True
        self.wake()
