"""Waiting for one event after another, each within its time, at the price of one alarm a stream.

A scope such as `asyncio.timeout` round every wait would cost each event two timers. Here a wait
only notes when it is to end; the alarm looks at that note when it goes off, and is set again
where the wait has moved on meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gemini_backend.errors import DeadlinePassed, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Alarm, Clock

    Failure = Callable[[float], ServiceError]


class WaitTimeout:
    """Cancels the task that waits too long, and tells afterwards that it was not the caller.

    Between `end` and `begin` nothing runs out: that time belongs to whoever reads the events.
    The call's deadline is kept throughout.
    """

    __slots__ = (
        "_alarm",
        "_call",
        "_clock",
        "_failure",
        "_limit",
        "_ran_out",
        "_set_for",
        "_task",
        "_until",
    )

    def __init__(self, call: Call, clock: Clock) -> None:
        """Keep `call`'s deadline, on `clock`."""
        self._call = call
        self._clock = clock
        self._alarm: Alarm | None = None
        self._set_for = float("inf")
        self._until = float("inf")
        self._limit = 0.0
        self._failure: Failure | None = None
        self._task: asyncio.Task[object] | None = None
        self._ran_out: ServiceError | None = None

    def wait_for(self, seconds: float, failure: Failure) -> None:
        """Let the waits that begin from now on last so long; 0 leaves only the deadline."""
        self._limit, self._failure = seconds, failure

    def begin(self) -> None:
        """Begin to wait, in the task that is to be cancelled when it takes too long."""
        self._until = self._clock.now() + self._limit if self._limit > 0 else float("inf")
        self._task = asyncio.current_task()
        until = self._ends_at()
        if until < self._set_for:
            self._set(until)

    def end(self) -> None:
        """The wait is over; what came is being handed on."""
        self._task = None

    def explain(self) -> None:
        """Raise what has run out, when a wait was cancelled for that reason.

        Raises:
            ServiceError: time ran out, and nobody else cancelled the task as well.
        """
        ran_out, task = self._ran_out, asyncio.current_task()
        if ran_out is not None and task is not None and task.uncancel() == 0:
            raise ran_out from None

    def close(self) -> None:
        """Forget the alarm."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _ends_at(self) -> float:
        """Return when the wait is too long; a shared call's deadline may have moved meanwhile."""
        deadline = self._call.deadline
        return self._until if deadline is None else min(self._until, deadline)

    def _set(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._set_for = when
        self._alarm = self._clock.alarm(max(0.0, when - self._clock.now()), self._ring)

    def _ring(self) -> None:
        self._alarm, self._set_for = None, float("inf")
        if self._task is None:
            return  # nobody waits; the next wait sets the alarm again
        until = self._ends_at()
        if self._clock.now() < until:
            self._set(until)
            return
        deadline = self._call.deadline
        if self._failure is None or (deadline is not None and self._until >= deadline):
            self._ran_out = deadline_passed(self._call)
        else:
            self._ran_out = self._failure(self._limit)
        self._task.cancel()


def deadline_passed(call: Call) -> ServiceError:
    """Return the failure of a call whose deadline passed while it was being answered."""
    span = 0.0 if call.deadline is None else call.deadline - call.arrived
    return DeadlinePassed(
        f"the call's deadline of {span:.3g} s passed while the model was generating; set a later "
        "deadline"
    )
