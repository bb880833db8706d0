"""An execution that has begun and has not ended: how it is stopped, and who waits for that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gemini.backend.v1.content_pb2 import Cost, Usage
from gemini.backend.v1.execute_service_pb2 import ExecutionState
from gemini_backend.policies.outcome import add_cost, sum_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini.backend.v1.execute_service_pb2 import ExecutionKind
    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.executions.ended import Ended

_RUNNING = ExecutionState.EXECUTION_STATE_RUNNING


class Items:
    """What the items of a batch have come to so far."""

    __slots__ = ("cost", "counts", "number", "usage", "waiting")

    def __init__(self, number: int) -> None:
        """Begin with so many items, of which none has ended."""
        self.number = number
        self.waiting: dict[str, Underway] = {}
        self.counts: dict[int, int] = {}
        self.usage: Usage | None = None
        self.cost: Cost | None = None

    def take(self, item: Ended) -> None:
        """Add an item that has ended."""
        self.waiting.pop(item.name, None)
        self.counts[item.state] = self.counts.get(item.state, 0) + 1
        if item.usage is not None:
            self.usage = sum_of(self.usage, Usage.FromString(item.usage))
        if item.cost is not None:
            if self.cost is None:
                self.cost = Cost()
            add_cost(self.cost, Cost.FromString(item.cost))


class Underway(Struct):
    """One execution, and the task that works on it.

    Attributes:
        call: Who asks, and what has been learnt.
        request: What it asks for; dropped with the rest when it has ended.
        kind: What started it.
        created: When it arrived, in seconds since the epoch.
        task: The task to be cancelled in order to stop it; None where there is none (yet).
        batch: Of an item, its batch; None otherwise.
        items: Of a batch, its items; None otherwise.
        stop: Stops a run that goes on without its caller; None where the caller's task is all.
        why: Why it is to be stopped; None as long as nobody wants that.
        waiting: Whoever waits for its end.
    """

    call: Call
    request: Any
    kind: ExecutionKind.ValueType
    created: float
    task: asyncio.Task[Any] | None = None
    batch: Underway | None = None
    items: Items | None = None
    stop: Callable[[ServiceError], None] | None = None
    why: ServiceError | None = None
    waiting: tuple[asyncio.Future[Ended], ...] = ()

    @property
    def state(self) -> ExecutionState.ValueType:
        """Whether the model has been asked."""
        if self.items is None:
            outcome = self.call.outcome
            run = outcome.shared or outcome
            asked = bool(run.attempts or outcome.sequence or outcome.end is not None)
        else:
            waiting = self.items.waiting.values()
            asked = bool(self.items.counts) or any(one.state == _RUNNING for one in waiting)
        return _RUNNING if asked else ExecutionState.EXECUTION_STATE_QUEUED

    def cancel(self, why: ServiceError) -> None:
        """Begin to stop it, and the items of a batch; does nothing the second time.

        A task that is cancelled twice could not tell this from a caller who leaves.
        """
        if self.why is not None:
            return
        self.why = why
        if self.items is not None:
            for item in tuple(self.items.waiting.values()):
                item.cancel(why)
        if self.stop is not None:
            self.stop(why)
            return
        self.call.outcome.cut_short = why
        if self.task is not None:
            self.task.cancel()

    def ended(self) -> asyncio.Future[Ended]:
        """Return what is set to the execution when it has ended."""
        waiter: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self.waiting = (*self.waiting, waiter)
        return waiter

    def end(self, made: Ended) -> None:
        """Tell everybody who waits."""
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_result(made)
