"""Two runs of the same work, of which one is needed; every task is ended by whoever began them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from gemini_backend.errors import ServiceError
from gemini_backend.policies.attempts.attempt_budget import is_spent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from gemini_backend.clock import Clock

T = TypeVar("T")


class Race(Generic[T]):
    """Runs work once, and a second time when the first run takes long.

    `end` has to be awaited whatever happens: it cancels what still runs and hands results that
    nobody took to `discard`.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[None, None, T]],
        discard: Callable[[T], Awaitable[None]],
        clock: Clock,
    ) -> None:
        """Run `work`, timed by `clock`."""
        self._work = work
        self._discard = discard
        self._clock = clock
        self._tasks: list[asyncio.Task[T]] = []
        self._winner: asyncio.Task[T] | None = None

    @property
    def second_won(self) -> bool:
        """Whether it was the second run whose result was taken."""
        return self._winner is not None and self._winner is not self._tasks[0]

    async def first(self, delay: float | None, may_start: Callable[[], bool]) -> T:
        """Return the first result.

        Args:
            delay: Seconds after which the second run is started; None for never.
            may_start: Asked when it is to be started.

        Raises:
            ServiceError: of the run that failed first, once every run has failed.
        """
        self._start()
        if delay is not None and await self._is_slow(delay) and may_start():
            self._start()
        return await self._first_result()

    async def end(self) -> None:
        """End every run but the winner's, and wait until they have ended.

        Whoever is cancelled meanwhile waits no longer, and yet leaves no result behind.
        """
        losers = [task for task in self._tasks if task is not self._winner]
        self._tasks = [task for task in self._tasks if task is self._winner]
        for task in losers:
            task.cancel()
        try:
            await asyncio.gather(*losers, return_exceptions=True)
        finally:
            for task in losers:
                if task.done() and not task.cancelled() and task.exception() is None:
                    await self._discard(task.result())

    def _start(self) -> None:
        self._tasks.append(asyncio.create_task(self._work()))

    async def _is_slow(self, delay: float) -> bool:
        """Wait so long for the first run; say whether it still runs."""
        (task,) = self._tasks
        time_is_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        alarm = self._clock.alarm(delay, lambda: time_is_up.set_result(None))
        try:
            await asyncio.wait((task, time_is_up), return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
        return not task.done()

    async def _first_result(self) -> T:
        running = set(self._tasks)
        failure: ServiceError | None = None
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=self._tasks.index):
                try:
                    result = task.result()
                except ServiceError as error:
                    if failure is None or is_spent(failure):
                        failure = error
                else:
                    self._winner = task
                    return result
        assert failure is not None  # noqa: S101 - every run has ended and none had a result
        raise failure
