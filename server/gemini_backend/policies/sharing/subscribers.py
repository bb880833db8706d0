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
    from gemini_backend.policies.sharing.detached_run import DetachedRun
    from gemini_backend.policies.sharing.replay_buffer import Reader


class SharedBudget:
    """The budget of a run with several callers: as long as any of them may wait, or wants more."""

    __slots__ = ("callers", "deadline")

    def __init__(self, deadline: float | None) -> None:
        """Begin with the first caller's deadline."""
        self.deadline = deadline
        self.callers: dict[Reader, Call] = {}

    def extend(self, deadline: float | None) -> None:
        """Let the run last as long as another caller may wait; None is for ever."""
        if self.deadline is not None:
            self.deadline = None if deadline is None else max(self.deadline, deadline)

    def wanted(self) -> bool:
        """Return whether any caller still wants further requests to be made."""
        return any(call.budget.wanted() for call in self.callers.values())


class Subscribers:
    """A flight and its calls, of which one pays: as a rule the one that was there first.

    Whoever is the first to be told the end pays for good. So there is one, though the one that was
    there first may read slowly, and leave.
    """

    def __init__(
        self, run: DetachedRun, budget: SharedBudget, close_doors: Callable[[], None]
    ) -> None:
        """Begin without a call; `close_doors` lets nobody else join."""
        self.run = run
        self.calls = budget.callers
        self._budget = budget
        self.close_doors = close_doors
        self._paid = False

    def enter(self, call: Call, clock: Clock) -> Reader:
        """Take a call on board; the flight may last as long as the call may."""
        call.outcome.pays = not (self.calls or self._paid)
        call.outcome.shared = self.run.call.outcome
        self._budget.extend(call.deadline)
        reader = self.run.buffer.join(call, clock)
        self.calls[reader] = call
        return reader

    async def events(self, reader: Reader) -> AsyncIterator[Any]:
        """Yield what there is and what comes, to the end; the only reader reads on by itself.

        Raises:
            DeadlinePassed: the deadline of the reader's call passed.
            Overloaded: it read so slowly that an event was let go.
            ServiceError: the run failed.
        """
        run = self.run
        alone = run.buffer.alone
        reader.when_late = run.interrupt
        while True:
            if run.rest is None or not reader.caught_up:
                event = await reader.read()
            elif alone():
                event = await run.read_on(reader)
            else:
                run.take_off_again()
                event = await reader.read()
            if event is None:
                return
            yield event

    def tell(self, call: Call) -> None:
        """Write into a call what the run has learnt."""
        call.outcome.adopt(self.run.call.outcome)

    def tell_end(self, call: Call) -> None:
        """Write into a call that the run has ended well, and whether it is the one that pays."""
        self.tell(call)
        if not self._paid:
            self._paid = True
            for other in self.calls.values():
                other.outcome.pays = other is call

    def leave(self, call: Call, reader: Reader) -> None:
        """Let a call go; where it would have paid, another one that stays does."""
        reader.close()
        self.tell(call)
        call.outcome.shared = None
        del self.calls[reader]
        if call.outcome.pays and not self._paid and not self._at_the_end(reader):
            self._hand_over(call)
        if self.calls and not self.run.buffer.ended:
            self.run.take_off_again()

    def _hand_over(self, call: Call) -> None:
        """Let the call that has been there longest pay, of those that have not seen the end."""
        for reader, other in self.calls.items():
            if not self._at_the_end(reader):
                call.outcome.pays, other.outcome.pays = False, True
                return

    def _at_the_end(self, reader: Reader) -> bool:
        return self.run.buffer.ended and reader.caught_up
