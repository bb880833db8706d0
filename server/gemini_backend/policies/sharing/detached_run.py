"""A flight: the rest of a call, run in a task of its own and written to a tape.

A task of its own is what lets it outlive any reader, and what makes each event cost a hop between
two tasks. So a flight may land after an event, and whoever reads alone then reads on by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from gemini_backend.call import CURRENT
from gemini_backend.errors import Draining
from gemini_backend.policies.base import opened
from gemini_backend.policies.sharing.replay_buffer import fresh

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.sharing.replay_buffer import Reader, ReplayBuffer


class DetachedRun:
    """Runs until it ends or is cancelled; reads no further ahead of its readers than the tape says.

    Whoever makes a flight owns it, and either sees it end or awaits `cancel`.
    """

    def __init__(
        self,
        call: Call,
        buffer: ReplayBuffer,
        *,
        each: Callable[[Any], None] | None = None,
        ended: Callable[[BaseException | None], None] | None = None,
        lands: Callable[[], bool] | None = None,
    ) -> None:
        """Stand ready to run for `call`.

        Args:
            call: What the layers further in work on.
            buffer: Where events go.
            each: Looks at each event before anybody else does; what it raises ends the flight.
            ended: Told when nothing more comes, and of the failure, before the readers learn of
                it; a flight that was cancelled has failed with `call.outcome.cut_short`, or with
                `Draining` where that says nothing.
            lands: Asked after each event whether to land. Default: never.
        """
        self.call = call
        self.buffer = buffer
        self.rest: AsyncIterator[Any] | None = None  # what is left to read, once it has landed
        self._each = each
        self._ended = ended
        self._lands = lands
        self._task: asyncio.Task[None] | None = None
        self._reader: Reader | None = None  # reads on by itself at this moment
        self._stopped = False
        self._waiting: set[asyncio.Future[None]] = set()
        self.went_down = False  # with the reader that read it on

    def start(self, source: Callable[[], AsyncIterator[Any]]) -> None:
        """Take off; `source` begins the rest of the call, and runs wholly within the task."""
        self._task = asyncio.create_task(self._run(source))
        self._task.add_done_callback(self._over)

    def take_off_again(self) -> None:
        """Go on in a task; does nothing where there is one, or a reader is just reading on."""
        rest = self.rest
        if rest is not None and self._reader is None:
            self.rest = None
            self.start(lambda: rest)

    async def read_on(self, reader: Reader) -> Any:
        """Return the next event of a flight that has landed, None at its end; write it to the tape.

        Raises:
            CancelledError: the reader's task was cancelled meanwhile; the flight is over with it.
            DeadlinePassed: the reader's deadline passed meanwhile; so it is then.
            ServiceError: the run failed.
        """
        self._reader = reader
        reader.task = cast("asyncio.Task[Any]", asyncio.current_task())
        try:
            event = await anext(cast("AsyncIterator[Any]", self.rest), None)
        except asyncio.CancelledError:
            self.went_down = True
            self._over_with(self._cancelled())
            if self._stopped and cast("asyncio.Task[Any]", asyncio.current_task()).uncancel() == 0:
                reader.check_time()
                raise self._cancelled() from None
            raise
        except Exception as failure:  # noqa: BLE001 - every reader is told, whatever it is
            self._over_with(failure)
            raise fresh(failure) from None
        finally:
            self._reader = None
            if self._waiting:
                self._tell_waiting()
        if event is None:
            self._over_with(None)
        else:
            self.buffer.append(event)
            reader.skip()
        return event

    async def taken_on(self, reader: Reader) -> bool:
        """Wait until the run does not hang on another reader; return whether it can be followed.

        It cannot when that reader has left meanwhile, and the run has ended with it.

        Raises:
            DeadlinePassed: the deadline of the reader's call passed first.
        """
        while self._reader is not None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.add(waiter)
            try:
                await reader.wait_for(waiter)
            finally:
                self._waiting.discard(waiter)
        self.take_off_again()
        return not self.went_down

    def _tell_waiting(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _over_with(self, error: BaseException | None) -> None:
        self.rest = None
        self.end(error)

    def interrupt(self, reader: Reader) -> None:
        """Cancel a reader that is just reading on by itself, and the run with it."""
        if self._reader is reader:
            self._stopped = True
            reader.task.cancel()

    def stop(self) -> None:
        """Begin to stop; whoever has to know when it has stopped awaits `cancel`."""
        if self._reader is not None:
            self.interrupt(self._reader)
        if self._task is not None:
            self._task.cancel()

    async def cancel(self) -> None:
        """Stop, and come back when everything further in is closed."""
        if self.buffer.ended:
            return  # and everything further in was closed before
        if self.rest is not None and self._reader is None:
            rest, self.rest = self.rest, None
            async with opened(rest):
                self.end(self._cancelled())
        working = self._task if self._reader is None else self._reader.task
        self.stop()
        if working is not None and not working.done():
            await asyncio.wait({working})

    async def _run(self, source: Callable[[], AsyncIterator[Any]]) -> None:
        CURRENT.set(self.call)
        error: BaseException | None = None
        events: AsyncIterator[Any] | None = None
        try:
            events = source()
            if await self._write(events):
                self.rest = events
        except asyncio.CancelledError:
            error = self._cancelled()
            raise
        except Exception as failure:  # noqa: BLE001 - every reader is told, whatever it is
            error = failure
        finally:
            if self.rest is None:
                if events is not None:
                    await cast("AsyncGenerator[Any, None]", events).aclose()
                self.end(error)

    async def _write(self, events: AsyncIterator[Any]) -> bool:
        """Write events to the tape; return whether it landed before they were at their end."""
        buffer, each, lands = self.buffer, self._each, self._lands
        async for event in events:
            if each is not None:
                each(event)
            buffer.append(event, hand_over=True)
            if lands is not None and lands():
                return True
            if buffer.crowded:
                await buffer.room()
        return False

    def _over(self, task: asyncio.Task[None]) -> None:
        """Tell everybody of a task that was cancelled before it began, and ran nothing itself."""
        if not self.buffer.ended and self.rest is None and task is self._task:
            self.end(self._cancelled())

    def end(self, error: BaseException | None) -> None:
        """Tell everybody, once."""
        if self.buffer.ended:
            return
        if self._ended is not None:
            self._ended(error)
        self.buffer.end(error)

    def _cancelled(self) -> ServiceError:
        why = self.call.outcome.cut_short
        return why or Draining("the execution was cancelled while it was shared or kept; retry")
