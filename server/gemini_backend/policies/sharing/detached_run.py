"""The rest of a call, run in a task of its own and written to a tape, so that it outlives readers.

A task of its own makes each event cost a hop between two tasks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini_backend.call import CURRENT
from gemini_backend.errors import Draining

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError
    from gemini_backend.policies.event_stream import EventStream
    from gemini_backend.policies.sharing.replay_buffer import ReplayBuffer


class DetachedRun:
    """Runs until it ends or is cancelled; reads no further ahead of its readers than the tape says.

    Whoever starts it owns it, and either sees it end or awaits `cancel`.
    """

    def __init__(
        self,
        call: Call,
        buffer: ReplayBuffer,
        write: Callable[[Any], None],
        ended: Callable[[BaseException | None], None],
    ) -> None:
        """Stand ready to run for `call`.

        Args:
            call: What the layers further in work on.
            buffer: Where events go.
            write: Puts an event there; what it raises ends the run.
            ended: Told when nothing more comes, and of the failure, before the readers learn of
                it; a run that was cancelled has failed with `call.outcome.cut_short`, or with
                `Draining` where that says nothing.
        """
        self._call = call
        self._buffer = buffer
        self._write = write
        self._ended = ended
        self._task: asyncio.Task[None] | None = None

    def start(self, opens: Callable[[], Awaitable[EventStream]]) -> None:
        """Begin the rest of the call by `opens`, wholly within the task."""
        self._task = asyncio.create_task(self._run(opens))
        self._task.add_done_callback(self._over)

    def stop(self) -> None:
        """Begin to stop; whoever has to know when it has stopped awaits `cancel`."""
        if self._task is not None:
            self._task.cancel()

    async def cancel(self) -> None:
        """Stop, and come back when everything further in is closed."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self, opens: Callable[[], Awaitable[EventStream]]) -> None:
        CURRENT.set(self._call)
        error: BaseException | None = None
        try:
            await written(await opens(), self._buffer, self._write)
        except asyncio.CancelledError:
            error = cancelled(self._call)
            raise
        except Exception as failure:  # noqa: BLE001 - every reader is told, whatever it is
            error = failure
        finally:
            self._end(error)

    def _over(self, _task: asyncio.Task[None]) -> None:
        """Tell everybody of a task that was cancelled before it began, and ran nothing itself."""
        self._end(cancelled(self._call))

    def _end(self, error: BaseException | None) -> None:
        """Tell everybody, once."""
        if not self._buffer.ended:
            self._ended(error)
            self._buffer.end(error)


async def written(events: EventStream, buffer: ReplayBuffer, write: Callable[[Any], None]) -> None:
    """Write events to a tape, no faster than its readers allow; close them in the end.

    Raises:
        BaseException: why they ended, or what `write` has raised.
    """
    why: BaseException | None = None
    try:
        while (event := await events.next()) is not None:
            write(event)
            if buffer.crowded:
                await buffer.room()
    except asyncio.CancelledError as error:
        why = error
        raise
    finally:
        await events.aclose(why)


def cancelled(call: Call) -> ServiceError:
    """Return why a run has failed that was cancelled."""
    why = call.outcome.cut_short
    return why or Draining("the execution was cancelled while it was shared or kept; retry")
