"""A flight and the calls that it answers.

While one call reads alone, its own task reads the run on, for that costs nothing. Whoever joins
then waits for the next event: from there on the run has a task of its own, which nobody's leaving
stops. So nothing is handed to a second caller that could break off because the first one leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.policies.sharing.flight import Flight
    from gemini_backend.policies.sharing.tape import Reader


class Shared:
    """A flight and its calls, the one that pays first."""

    def __init__(self, flight: Flight, close_doors: Callable[[], None]) -> None:
        """Begin without a call; `close_doors` lets nobody else on board."""
        self.flight = flight
        self.calls: dict[int, Call] = {}
        self.close_doors = close_doors

    def enter(self, call: Call, clock: Clock) -> Reader:
        """Take a call on board; the flight may last as long as the call may."""
        own = self.flight.call
        call.pays = not self.calls
        self.calls[id(call)] = call
        if own.deadline is not None:
            own.deadline = None if call.deadline is None else max(own.deadline, call.deadline)
        return self.flight.tape.join(call, clock)

    async def events(self, reader: Reader) -> AsyncIterator[Any]:
        """Yield what there is and what comes, to the end; the only reader reads on by itself.

        Raises:
            DeadlinePassed: the deadline of the reader's call passed.
            Overloaded: it read so slowly that an event was let go.
            ServiceError: the run failed.
        """
        flight = self.flight
        alone = flight.tape.alone
        reader.when_late = flight.interrupt
        while True:
            if flight.rest is None or not reader.caught_up:
                event = await reader.read()
            elif alone():
                event = await flight.read_on(reader)
            else:
                flight.take_off_again()
                event = await reader.read()
            if event is None:
                return
            yield event

    def tell(self, call: Call) -> None:
        """Write into a call what the run has learnt."""
        own = self.flight.call
        call.attempts[:] = own.attempts
        call.queued_seconds = own.queued_seconds
        call.trailers.update(own.trailers)

    def leave(self, call: Call, reader: Reader) -> None:
        """Let a call go; where it would have paid and the run goes on, the next one does."""
        reader.close()
        self.tell(call)
        del self.calls[id(call)]
        if not self.calls or self.flight.tape.ended:
            return
        if call.pays:
            call.pays = False
            next(iter(self.calls.values())).pays = True
        self.flight.take_off_again()
