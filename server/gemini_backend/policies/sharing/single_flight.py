"""Identical calls share one run of the rest: it is paid for once, however many wait for it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import DeadlinePassed
from gemini_backend.policies.cache import is_deterministic, sliced_run_key
from gemini_backend.policies.sharing.flight import Control, Flight
from gemini_backend.policies.sharing.flights import Flights, Likeness
from gemini_backend.policies.sharing.subscribers import Subscribers
from gemini_backend.policies.sharing.whole_flight import WholeFlight
from gemini_backend.policies.wrapper import Wrapper
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import SILENT, ExecutionCoalesced

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import CoalesceOptions
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.wrapper import Opens, Whole
    from gemini_backend.telemetry.events import Publisher


_BYPASS = pb.CACHE_MODE_BYPASS


class SingleFlight(Wrapper):
    """Lets calls of one tenant that ask for the same, in the same manner, follow one flight.

    Late ones are given what is there, then follow. One that leaves does not stop the others; the
    last one to leave does. The flight's deadline is the latest of its callers'; each caller's own
    is kept besides. One caller pays, as a rule the first: `outcome.pays` is false for the others.

    Attributes:
        same_bytes: Whether deltas go out as they come in but for their numbers; no layer that is
            not known to leave them so may stand further out. Then they are kept once.
    """

    def __init__(
        self,
        options: Callable[[], CoalesceOptions],
        clock: Clock,
        bus: Publisher = SILENT,
        on_growth: Callable[[int], None] | None = None,
    ) -> None:
        """Read the options anew for each call.

        Args:
            options: Gives the options in force.
            clock: Keeps the deadlines of those that wait for each other.
            bus: Where it is published which executions share a run.
            on_growth: Told of bytes that are kept, or let go, for those that follow.
        """
        self.same_bytes = False
        self._options = options
        self._clock = clock
        self._bus = bus
        self._streams: Flights[Flight] = Flights()
        self._wholes: Flights[WholeFlight] = Flights()
        self._control = Control(self._streams, self._joined, on_growth)

    def is_on(self) -> bool:
        """Return whether any calls that begin now may share a run."""
        return self._options().mode != "off"

    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer by the run of the first of identical calls.

        Raises:
            DeadlinePassed: this call's own deadline passed first.
            ServiceError: the run failed; each call has an error of its own.
        """
        if not self.shares(request):
            return proceed(call, request)
        return self._whole(call, request, proceed)

    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Open a stream of the events of the run of the first of identical calls.

        Raises:
            DeadlinePassed: this call's own deadline passed first.
            Overloaded: this caller read so much more slowly than others that events had to go.
            ServiceError: the run failed; each call has an error of its own.
        """
        if not self.shares(request):
            return proceed(call, request)
        if call.large:
            return self._sliced_stream(call, request, proceed)
        like = Likeness(call, request)
        if self._streams.find(like) is None:
            return self._first(call, request, proceed, like)
        return self._stream(call, request, proceed, like)

    @property
    def running(self) -> int:
        """How many flights are in the air."""
        return len(self._streams) + len(self._wholes)

    async def aclose(self) -> None:
        """Cancel every flight and wait for it."""
        await asyncio.gather(*(flight.cancel() for flight in (*self._streams, *self._wholes)))

    def shares(self, request: Any) -> bool:
        """Say whether a request may share an answer under way."""
        mode = self._options().mode
        if mode == "off":
            return False
        if request.HasField("cache_control") and request.cache_control.mode == _BYPASS:
            return False
        return mode == "all" or is_deterministic(request)

    async def _whole(self, call: Call, request: Any, proceed: Whole) -> Any:
        like = await self._sliced(call, request) if call.large else Likeness(call, request)
        while True:
            try:
                flight = self._wholes.find(like)
                if flight is not None:
                    self._joined(call, flight)
                    return await flight.join(call)
                flight = self._new_whole(like, call)
                return await flight.begin(call, partial(proceed, flight.subscribers.run, request))
            except DeadlinePassed:
                # a whole answer is made by the deadline of whoever came first: go on without them
                if call.remaining(self._clock.now()) == 0:
                    raise

    async def _sliced_stream(self, call: Call, request: Any, proceed: Opens) -> EventStream:
        return await self._stream(call, request, proceed, await self._sliced(call, request))

    def _first(
        self, call: Call, request: Any, proceed: Opens, like: Likeness
    ) -> Awaitable[EventStream]:
        flight = self._new_flight(like, call)
        return flight.begin(call, partial(proceed, flight.subscribers.run, request))

    async def _stream(
        self, call: Call, request: Any, proceed: Opens, like: Likeness
    ) -> EventStream:
        while True:
            flight = self._streams.find(like)
            if flight is None:
                return await self._first(call, request, proceed, like)
            # it may go down with the one who reads it alone; then there is another one to board
            events = await flight.join(call)
            if events is not None:
                return events

    async def _sliced(self, call: Call, request: Any) -> Likeness:
        return Likeness(call, request, await sliced_run_key(call, request, self._clock))

    def _joined(self, call: Call, flight: Flight | WholeFlight) -> None:
        self._bus.publish(ExecutionCoalesced(call.execution, flight.subscribers.run.execution))

    def _new_whole(self, like: Likeness, call: Call) -> WholeFlight:
        flight = WholeFlight(Subscribers(call), self._clock, like, self._wholes)
        self._wholes.add(like, flight)
        return flight

    def _new_flight(self, like: Likeness, call: Call) -> Flight:
        flight = Flight(
            Subscribers(call),
            self._options().buffer_mb * MIB,
            self._clock,
            self._control,
            like,
            same_bytes=self.same_bytes,
        )
        self._streams.add(like, flight)
        return flight

    def __repr__(self) -> str:
        """Name the policy and its options."""
        return f"SingleFlight(mode={self._options().mode})"
