"""Every execution by its name: found, stopped and remembered by whoever started it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import Cancelled, UnknownResource
from gemini_backend.policies.executions.ended import Ended, Failed, ended_early, succeeded
from gemini_backend.policies.executions.progress import running_message
from gemini_backend.policies.executions.underway import Items, Underway
from gemini_backend.telemetry.metrics.metric_families import Family

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.rpc.status_pb2 import Status

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.execution import ExecutionOptions
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.executions.remembered import Remembered
    from gemini_backend.principal import Principal

_LEFT = "the caller disconnected before the execution had ended"


class RunsApart(Protocol):
    """The side of the register that is told of runs which outlive their calls."""

    def runs_apart(self, call: Call, stop: Callable[[ServiceError], None], /) -> None:
        """Take note that an execution no longer ends with its call, and how it is stopped."""
        ...

    def ended(self, call: Call, error: BaseException | None, /) -> None:
        """Take note that such a run has ended, and why if it did not come to its end."""
        ...


class _Unlisted:
    """A register that knows no execution."""

    def runs_apart(self, _call: Call, _stop: Callable[[ServiceError], None], /) -> None:
        """Let it run."""

    def ended(self, _call: Call, _error: BaseException | None, /) -> None:
        """Let it end."""


UNLISTED = _Unlisted()


class ExecutionRegister:
    """Knows executions from their arrival to when they are forgotten.

    Those under way are bounded by the calls themselves, and by the runs that outlive theirs. What
    is told of the ended ones is written down once, at the end; nothing is done for each event.
    """

    def __init__(
        self,
        options: Callable[[], ExecutionOptions],
        remembered: Remembered,
        describe: Callable[[Call, Exception], tuple[ServiceError, Status]],
        *,
        clock: Clock,
        wall: Callable[[], float],
    ) -> None:
        """Know none yet.

        Args:
            options: Say how long outcomes are remembered; read anew each time.
            remembered: Where outcomes go.
            describe: Returns a failure as its caller is told of it, and the whole of its status.
            clock: Times executions.
            wall: Tells the time of day, in seconds since the epoch.
        """
        self._options = options
        self._remembered = remembered
        self._describe = describe
        self._clock = clock
        self._wall = wall
        self._underway: dict[str, Underway] = {}

    def families(self) -> Iterator[Family]:
        """Yield how many there are."""
        said = "Executions that wait or run, items of batches included."
        yield Family.gauge("executions_underway", said, len(self._underway))
        said = "Executions that have ended and can be read by GetExecution."
        yield Family.gauge("executions_remembered", said, len(self._remembered))

    def begin(
        self,
        call: Call,
        request: Any,
        kind: pb.ExecutionKind.ValueType,
        task: asyncio.Task[Any] | None = None,
    ) -> Underway:
        """Take note of an execution that begins in a task, the current one if none is named."""
        one = Underway(call, request, kind, self._wall(), task or asyncio.current_task())
        self._underway[call.execution] = one
        return one

    def begin_batch(self, call: Call, number: int) -> Underway | None:
        """Take note that a batch has so many items; None where it is not known itself."""
        batch = self._underway.get(call.execution)
        if batch is not None:
            batch.items = Items(number)
        return batch

    def begin_item(self, call: Call, request: Any, batch: Underway | None) -> Underway:
        """Take note of an item of a batch, which may have to wait."""
        kind = pb.EXECUTION_KIND_BATCH_ITEM
        one = Underway(call, request, kind, self._wall(), batch=batch)
        self._underway[call.execution] = one
        if batch is not None and batch.items is not None:
            batch.items.waiting[call.execution] = one
        return one

    def runs_apart(self, call: Call, stop: Callable[[ServiceError], None]) -> None:
        """Take note that an execution no longer ends with its call, and how it is stopped."""
        one = self._underway.get(call.execution)
        if one is not None:
            one.stop = stop

    def call_ended(self, call: Call, error: ServiceError | None) -> None:
        """Take note that the call which started an execution is over, and why if it failed."""
        one = self._underway.get(call.execution)
        if one is not None and one.stop is None:
            self._end(one, error)

    def ended(self, call: Call, error: BaseException | None) -> None:
        """Take note that an execution has ended, and why if it did not come to its end."""
        one = self._underway.get(call.execution)
        if one is not None:
            self._end(one, error if isinstance(error, Exception) else None)

    def owns(self, principal: Principal, name: str) -> bool:
        """Return whether a principal has an execution of that name."""
        one = self._underway.get(name)
        if one is not None:
            return one.call.principal.owner == principal.owner
        return self._remembered.find(principal.owner, name) is not None

    def get(self, principal: Principal, name: str) -> pb.Execution:
        """Return what is known of a principal's execution.

        Raises:
            UnknownResource: there is none, it is somebody else's, or it is forgotten.
        """
        one = self._underway.get(name)
        owner = principal.owner
        if one is not None and one.call.principal.owner == owner:
            return running_message(one, self._clock.now())
        found = self._remembered.find(owner, name)
        if found is None:
            raise UnknownResource(
                f"there is no execution {name!r}; check the name, that the same principal started "
                "it on this server, and that it did not end too long ago "
                "(execution.remember_seconds)"
            )
        return self._opened(found)

    async def cancel(self, principal: Principal, name: str, why: ServiceError) -> pb.Execution:
        """Stop a principal's execution, and return it once it has ended.

        Raises:
            UnknownResource: there is none, it is somebody else's, or it is forgotten.
        """
        one = self._underway.get(name)
        if one is not None and one.call.principal.owner == principal.owner:
            ended = one.ended()
            one.cancel(why)
            if one.task is None and one.stop is None:
                self._end(one, why)  # an item whose turn has not come: nothing has to be stopped
            return self._opened(await ended)
        return self.get(principal, name)

    def all_of(self, principal: Principal) -> Iterator[tuple[str, int, Callable[[], pb.Execution]]]:
        """Yield name, state and what makes the message of each of a principal's, in no order."""
        owner, now = principal.owner, self._clock.now()
        for one in tuple(self._underway.values()):
            if one.call.principal.owner == owner:
                yield one.call.execution, one.state, partial(running_message, one, now)
        for found in self._remembered.of(owner):
            yield found.name, found.state, partial(self._opened, found)

    def clear(self) -> None:
        """Forget all that have ended."""
        self._remembered.clear()

    def _opened(self, found: Ended) -> pb.Execution:
        made = found.message()
        expires = found.facts.at(found.ended) + self._options().remember_seconds
        made.expire_time.CopyFrom(timestamp_of(expires))
        return made

    def _end(self, one: Underway, error: Exception | None) -> None:
        call = one.call
        end = call.outcome.end
        del self._underway[call.execution]
        if error is None and end is None and not _is_whole(one):
            error = one.why or call.outcome.cut_short or Cancelled(_LEFT)
        if one.items is not None:
            self._end_items(one.items, error)
        if not (self._options().max_remembered or one.batch or one.waiting):
            return
        now = self._clock.now()
        if error is not None:
            made = ended_early(one, Failed(*self._describe(call, error)), now)
        elif end is None:
            made = ended_early(one, None, now)
        else:
            made = succeeded(one, end, now)
        self._remembered.add(call.principal.owner, made)
        if one.batch is not None and one.batch.items is not None:
            one.batch.items.take(made)
        if one.waiting:
            one.end(made)

    def _end_items(self, items: Items, error: Exception | None) -> None:
        """End those items of a batch that end with it."""
        for item in tuple(items.waiting.values()):
            if item.stop is None:
                self._end(item, error)


def _is_whole(one: Underway) -> bool:
    """Return whether a batch has a result of each of its items."""
    items = one.items
    return items is not None and sum(items.counts.values()) == items.number
