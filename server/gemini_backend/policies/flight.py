"""A flight: the rest of a call, run in a task of its own and written to a tape."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini_backend.call import CURRENT
from gemini_backend.errors import Draining
from gemini_backend.policies.base import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.policies.tape import Tape


class Flight:
    """Runs until it ends or is cancelled; reads no further ahead of its readers than the tape says.

    Whoever makes a flight owns it, and either sees it end or awaits `cancel`.
    """

    def __init__(
        self,
        call: Call,
        tape: Tape,
        *,
        each: Callable[[Any], None] | None = None,
        ended: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        """Stand ready to run for `call`.

        Args:
            call: What the layers further in work on.
            tape: Where events go.
            each: Looks at each event before anybody else does; what it raises ends the flight.
            ended: Told when nothing more comes, and of the failure, before the readers learn of
                it; a flight that was cancelled has failed with `Draining`.
        """
        self.call = call
        self.tape = tape
        self._each = each
        self._ended = ended
        self._task: asyncio.Task[None] | None = None

    def start(self, source: Callable[[], AsyncIterator[Any]]) -> None:
        """Take off; `source` begins the rest of the call, and runs wholly within the task."""
        self._task = asyncio.create_task(self._run(source))
        self._task.add_done_callback(lambda _: self._end(_cancelled()))

    def stop(self) -> None:
        """Begin to stop; whoever has to know when it has stopped awaits `cancel`."""
        if self._task is not None:
            self._task.cancel()

    async def cancel(self) -> None:
        """Stop, and come back when everything further in is closed."""
        self.stop()
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task})

    async def _run(self, source: Callable[[], AsyncIterator[Any]]) -> None:
        CURRENT.set(self.call)
        tape, each = self.tape, self._each
        error: BaseException | None = None
        try:
            async with opened(source()) as events:
                async for event in events:
                    if each is not None:
                        each(event)
                    tape.append(event, hand_over=True)
                    if tape.crowded:
                        await tape.room()
        except asyncio.CancelledError:
            error = _cancelled()
            raise
        except Exception as failure:  # noqa: BLE001 - every reader is told, whatever it is
            error = failure
        finally:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Tell everybody, once; a task that is cancelled before it begins runs nothing itself."""
        if self.tape.ended:
            return
        if self._ended is not None:
            self._ended(error)
        self.tape.end(error)


def _cancelled() -> Draining:
    return Draining("the execution was cancelled while it was shared or kept; try again")
