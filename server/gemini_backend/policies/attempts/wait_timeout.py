"""Waiting for one event after another, each within its time, at the price of one alarm a call.

A scope such as `asyncio.timeout` round every wait would cost each event two timers. Here a wait
only notes when it is to end; the alarm looks at that note when it goes off, and is set again
where the wait has moved on meanwhile.
"""

from __future__ import annotations

from asyncio import CancelledError, current_task
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import DeadlinePassed, ServiceError
from gemini_backend.policies.event_stream import Watch

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable

    from gemini.backend.v1.execute_service_pb2 import Delta
    from gemini_backend.call import Call
    from gemini_backend.clock import Alarm, Clock

    Failure = Callable[[float], ServiceError]

NEVER = float("inf")
"""How long a wait may last that only the deadline ends."""


class WaitTimeout(Watch):
    """Cancels the task that waits too long, and tells afterwards that it was not the caller.

    Between an event and the next wait nothing runs out: that time belongs to whoever reads. The
    call's deadline is kept throughout.
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

    def __init__(
        self, call: Call, clock: Clock, seconds: float, failure: Failure, later: float = 0.0
    ) -> None:
        """Begin to wait for an answer that begins within so many seconds, and within the deadline.

        Args:
            call: Whose deadline is kept.
            clock: What it is kept by.
            seconds: How long the first wait may last; 0 leaves only the deadline.
            failure: Makes the failure, of those seconds.
            later: How long later waits may last, where that is known: the alarm goes off by then
                and looks, so that none of them has to set it anew.
        """
        self._call = call
        self._clock = clock
        self._alarm: Alarm | None = None
        self._set_for = NEVER
        self._ran_out: ServiceError | None = None
        self._limit = limit = seconds if seconds > 0 else NEVER
        self._failure = failure
        self._task: Task[Any] | None = current_task()
        now = clock.now()
        until = self._until = now + limit
        deadline = call.budget.deadline
        if deadline is not None and deadline < until:
            until = deadline
        if 0 < later < until - now:
            until = now + later
        if until < NEVER:
            self._set_for = until
            self._alarm = clock.alarm(0.0 if until <= now else until - now, self._ring)

    def waiting(self, reader: Task[Any] | None, /) -> None:
        """Begin to wait, in the task that is to be cancelled when it takes too long."""
        self._task = reader
        until = self._until = self._clock.now() + self._limit
        deadline = self._call.budget.deadline
        if deadline is not None and deadline < until:
            until = deadline
        if until < self._set_for:
            self._set(until)

    def event(self, _event: Any, _delta: Delta | None, /) -> None:
        """The wait is over; what came is being handed on."""
        self._task = None

    def cancelled(self) -> ServiceError | None:
        """Return what has run out; None where somebody else has cancelled the task."""
        self._task = None
        return self._explained()

    def end(self, error: BaseException | None, /) -> ServiceError | None:
        """Forget the alarm; return what has run out where that was the end."""
        self._task = None
        if self._alarm is not None:
            self._alarm.cancel()
        if self._ran_out is None:
            return None
        ran_out = self._explained()
        return ran_out if isinstance(error, CancelledError) else None

    def _explained(self) -> ServiceError | None:
        """Take this watch's cancel back; return its reason if the task has no other."""
        ran_out, self._ran_out = self._ran_out, None
        if ran_out is None:
            return None
        task = current_task()
        return ran_out if task is not None and task.uncancel() == 0 else None

    def _set(self, when: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._set_for = when
        self._alarm = self._clock.alarm(max(0.0, when - self._clock.now()), self._ring)

    def _ring(self) -> None:
        self._alarm, self._set_for = None, NEVER
        if self._task is None:
            return  # nobody waits; the next wait sets the alarm again
        deadline = self._call.deadline  # that of a shared call may have moved
        until = self._until if deadline is None else min(self._until, deadline)
        if self._clock.now() < until:
            self._set(until)
            return
        if deadline is not None and self._until >= deadline:
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
