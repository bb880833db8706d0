"""A slot for each attempt at upstream, and a bounded queue before the slots."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import Overloaded, ServiceError, Throttled
from gemini_backend.policies.event_stream import Watch
from gemini_backend.policies.failure_classification import (
    is_impatient,
    may_be_the_callers,
    model_is_ill,
)
from gemini_backend.policies.flow.loop_delay import LoopDelay
from gemini_backend.policies.flow.queue import PriorityQueue, Waiter
from gemini_backend.policies.relay import Hook
from gemini_backend.telemetry.component_status import AdmissionState
from gemini_backend.telemetry.events import SILENT, AdmissionRefused
from gemini_backend.telemetry.metrics.series import Histogram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.flow import AdmissionOptions
    from gemini_backend.policies.flow.concurrency import ConcurrencyLimit
    from gemini_backend.policies.relay import Run
    from gemini_backend.telemetry.events import Publisher

PRIORITIES = ("interactive", "default", "batch")
_PLACES = {
    pb.PRIORITY_UNSPECIFIED: 0,
    pb.PRIORITY_INTERACTIVE: 0,
    pb.PRIORITY_DEFAULT: 1,
    pb.PRIORITY_BATCH: 2,
}
_LATEST_WEIGHT = 0.1


class Refusal(Enum):
    """Why a call gets no slot, in the words that finish the sentence."""

    TOO_LATE = "would wait in the queue beyond its deadline"
    QUEUE_FULL = "found the queue full"
    PUT_OUT = "was displaced by a call of higher priority, or of a tenant with fewer waiting calls"
    TIMED_OUT = "waited in the queue until its deadline"


class Admission(Hook):
    """Holds each attempt until there is a slot for it, and the slot until the attempt has ended.

    Slots go to the highest priority first, within it to each tenant in turn, within a tenant in
    the order of arrival. Who could not be served before its deadline, by the time that slots were
    held of late, is refused at once. When the queue is full a newcomer puts out the newest of the
    lowest priority below its own, else the newest of the tenant that has the most waiting at its
    own priority, if that is at least two more than its own tenant has; else it is refused. So no
    tenant can keep the others out. The cost of a call does not depend on how many wait, and no
    task is needed.
    """

    def __init__(
        self,
        options: Callable[[], AdmissionOptions],
        clock: Clock,
        limit: ConcurrencyLimit,
        bus: Publisher = SILENT,
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Gives the options in force.
            clock: Where waits are spent.
            limit: Says how many slots there are.
            bus: Where each refusal is published.
        """
        self._options = options
        self.clock = clock
        self._limit = limit
        self._bus = bus
        self._queue = PriorityQueue(len(PRIORITIES))
        self.began = limit.began  # told how long each answer took to begin
        self._delay = LoopDelay(
            clock, lambda: options().max_loop_delay_ms / 1000, self._occupied, self.admit
        )
        self._held_seconds = 0.0
        self._refused_at: float | None = None
        self.running = 0
        self.refusals = dict.fromkeys(Refusal, 0)
        self.waits = Histogram()

    @property
    def refused(self) -> int:
        """How many calls were refused."""
        return sum(self.refusals.values())

    def begin(self, run: Run, /) -> Awaitable[None] | None:
        """Take a slot, or wait for one.

        Raises:
            Overloaded: there is none in time.
        """
        options = self._options()
        if self._queue.count or not self._has_room(options):
            return self._wait_for_slot(run)
        self._take(options)
        run.watches.append(_Slot(self, run))
        return None

    def state(self) -> AdmissionState:
        """Tell how it stands."""
        since = self._queue.oldest_since()
        return AdmissionState(
            running=self.running,
            limit=self._slots(),
            loop_delay=self._delay.seconds,
            queued=self._queue.depths(),
            oldest_wait=None if since is None else self.clock.now() - since,
            estimated_wait=self._estimate(_PLACES[pb.PRIORITY_DEFAULT], ""),
            refused=self.refused,
            adaptive=self._options().adaptive,
            max_queued=self._options().max_queued,
            refused_at=self._refused_at,
        )

    def admit(self) -> None:
        """Give free slots to those who wait."""
        options = self._options()
        while self._has_room(options):
            waiter = self._queue.first()
            if waiter is None:
                return
            if not waiter.ready.cancelled():  # else its caller is just leaving
                self._take(options)
                waiter.ready.set_result(True)

    def _take(self, options: AdmissionOptions) -> None:
        """Take a slot; how late the loop is matters only where the least number is reached."""
        self.running = running = self.running + 1
        if self._delay.looks or running >= options.min_concurrent_requests:
            self._delay.begin()

    def _occupied(self) -> int:
        """Return how many run; 0 while there is room for more however late the loop is."""
        return self.running if self.running >= self._options().min_concurrent_requests else 0

    def _has_room(self, options: AdmissionOptions) -> bool:
        limit = self._limit.value()
        if limit is not None and self.running >= limit:
            return False
        delay = self._delay
        if not delay.looks or delay.has_room():
            return True
        return self.running < options.min_concurrent_requests

    def _slots(self) -> int | None:
        """Return how many slots there are just now; None for any number."""
        limit = self._limit.value()
        if self._delay.has_room():
            return limit
        paced = max(self.running, self._options().min_concurrent_requests)
        return paced if limit is None else min(limit, paced)

    async def _wait_for_slot(self, run: Run) -> None:
        call, now = run.call, self.clock.now()
        waiter = self._line_up(call, run.request, now)
        try:
            got_it = await self._wait(call, waiter, now)
        finally:
            waited = self.clock.now() - now
            call.outcome.queued_seconds += waited
        if not got_it:
            raise self._refusal(Refusal.PUT_OUT, call, waiter)
        self.waits.add(waited)
        run.watch(_Slot(self, run))

    def _line_up(self, call: Call, request: Any, now: float) -> Waiter:
        """Put a call into the queue, or refuse it.

        Raises:
            Overloaded: the queue is full, or the wait would outlast the deadline.
        """
        ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = Waiter(_PLACES[request.priority], call.principal.tenant, now, ready)
        estimate = self._estimate(waiter.priority, waiter.tenant)
        remaining = call.remaining(now)
        if remaining is not None and estimate >= remaining:
            raise self._refusal(Refusal.TOO_LATE, call, waiter)
        if self._queue.count >= self._options().max_queued:
            put_out = self._queue.make_room(waiter.priority, waiter.tenant)
            if put_out is None:
                raise self._refusal(Refusal.QUEUE_FULL, call, waiter)
            if not put_out.ready.cancelled():
                put_out.ready.set_result(False)
        self._queue.add(waiter)
        self.admit()  # the limit may have been raised meanwhile
        return waiter

    async def _wait(self, call: Call, waiter: Waiter, now: float) -> bool:
        """Wait for a turn; say whether it came. Whoever leaves is taken out of the queue."""
        try:
            async with self.clock.timeout(call.remaining(now)):
                return await waiter.ready
        except TimeoutError:
            self._leave(waiter)
            raise self._refusal(Refusal.TIMED_OUT, call, waiter) from None
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def _leave(self, waiter: Waiter) -> None:
        """Take a waiter out; where its turn has just come, the slot goes to the next one."""
        if self._queue.remove(waiter):
            return
        if waiter.ready.done() and not waiter.ready.cancelled() and waiter.ready.result():
            self.running -= 1
            self.admit()

    def release(self, held: float) -> None:
        """Take back a slot that was held for so many seconds."""
        self._held_seconds = (
            held
            if self._held_seconds == 0
            else self._held_seconds + _LATEST_WEIGHT * (held - self._held_seconds)
        )
        self.running -= 1
        if self._queue.count:
            self.admit()

    def learn(self, request: Any, error: ServiceError) -> None:
        """Shrink the limit by what speaks of overload, not by what one caller's prompt does."""
        own = may_be_the_callers(error) or is_impatient(request, error)
        if isinstance(error, Throttled) or (model_is_ill(error) and not own):
            self._limit.failed()

    def _estimate(self, priority: int, tenant: str) -> float:
        """Return how long a newcomer would wait, by the time that slots were held of late."""
        limit = self._slots()
        if limit is None or (not self._queue.count and self.running < limit):
            return 0.0
        return (self._queue.ahead_of(priority, tenant) + 1) * self._held_seconds / limit

    def _refusal(self, why: Refusal, call: Call, waiter: Waiter) -> Overloaded:
        self.refusals[why] += 1
        self._refused_at = self.clock.now()
        estimate = self._estimate(waiter.priority, waiter.tenant)
        priority, queued = PRIORITIES[waiter.priority], self._queue.count
        name = why.name.lower()
        self._bus.publish(
            AdmissionRefused(name, priority, self.running, queued, estimate, call.execution)
        )
        return Overloaded(
            f"{self._why_full()} and the call {why.value}; retry in {estimate:.3g} s, or set a "
            f"later deadline",
            retry_after=estimate or None,
            metadata={
                "queued": str(queued),
                "queued_seconds": f"{call.outcome.queued_seconds:.3f}",
                "priority": priority,
            },
        )

    def _why_full(self) -> str:
        """Return why nothing may begin now, with what to do about it."""
        if self._delay.has_room():
            slots = self._limit.value()
            return f"all {slots} slots are in use (admission.max_concurrent_requests)"
        return (
            f"the {self.running} attempts that run take all of this process (its event loop is "
            f"{self._delay.seconds * 1000:.0f} ms late, admission.max_loop_delay_ms)"
        )

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        slots = f"{options.max_concurrent_requests or 'no limit'}"
        if options.adaptive:
            slots = f"{options.min_concurrent_requests} to {slots}, adaptive"
        return f"Admission(slots={slots}, max_queued={options.max_queued})"


class _Slot(Watch):
    """A slot, held until the attempt has ended."""

    __slots__ = ("_admission", "_begun", "_clock", "_request")

    def __init__(self, admission: Admission, run: Run) -> None:
        self._admission = admission
        self._request = run.request
        self._clock = clock = admission.clock
        self._begun = clock.now()

    def first(self, _event: Any, /) -> None:
        admission = self._admission
        admission.began("stream", self._clock.now() - self._begun, admission.running)

    def answer(self, _response: Any, /) -> None:
        admission = self._admission
        admission.began("whole", self._clock.now() - self._begun, admission.running)

    def end(self, error: BaseException | None, /) -> None:
        if isinstance(error, ServiceError):
            self._admission.learn(self._request, error)
        self._admission.release(self._clock.now() - self._begun)
