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
        self.calls: dict[Reader, Call] = {}
        self.close_doors = close_doors

    def enter(self, call: Call, clock: Clock) -> Reader:
        """Take a call on board; the flight may last as long as the call may."""
        own = self.flight.call
        call.pays = not self.calls
        if own.deadline is not None:
            own.deadline = None if call.deadline is None else max(own.deadline, call.deadline)
        reader = self.flight.tape.join(call, clock)
        self.calls[reader] = call
        return reader

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
        """Let a call go; where it would have paid, another one that has not seen the end does."""
        reader.close()
        self.tell(call)
        del self.calls[reader]
        if call.pays and not self._at_the_end(reader):
            self._hand_over(call)
        if self.calls and not self.flight.tape.ended:
            self.flight.take_off_again()

    def _hand_over(self, call: Call) -> None:
        """Let the call that has been there longest pay; who has seen the end was told its cost."""
        for reader, other in self.calls.items():
            if not self._at_the_end(reader):
                call.pays, other.pays = False, True
                return

    def _at_the_end(self, reader: Reader) -> bool:
        return self.flight.tape.ended and reader.caught_up
