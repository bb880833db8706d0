"""A process that answers questions: started by the first one, ended when it is idle."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemini_backend.clock import Alarm, Clock
    from gemini_backend.processing.workers.worker_link import Link

_log = logging.getLogger(__name__)

# After a failure the process is not tried again for so long.
_RETRY_SECONDS = 30.0


class NotYet(OSError):
    """It failed a moment ago, and is not tried again yet: no failure of its own."""


class WorkerProcess(ABC):
    """The life of such a process, which lives as long as it is used.

    When it fails, the reason is logged once and stands in `problem`, and it is tried again after
    half a minute. Whoever asks is told of the failure by an OSError, and is to hand it to `_fail`,
    but for NotYet, which would put the next try off for ever.
    """

    def __init__(self, clock: Clock, consequence: str) -> None:
        """Start nothing yet; `consequence` is what a failure means, as the log says it."""
        self._clock = clock
        self._consequence = consequence
        self._link: Link | None = None
        self._starting: asyncio.Task[Link] | None = None
        self._idle: Alarm | None = None
        self._used = 0.0
        self._failed_at: float | None = None
        self.problem = ""

    @abstractmethod
    async def _begin(self) -> Link:
        """Start the process and wait until it is ready.

        Raises:
            OSError: it could not be started, or cannot do its work.
        """

    @abstractmethod
    def _idle_seconds(self) -> float:
        """Return for how many seconds the process is kept while nothing is asked."""

    async def aclose(self) -> None:
        """End the process."""
        if self._idle is not None:
            self._idle.cancel()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._link is not None:
            await self._link.aclose()

    async def _answers(self, texts: Sequence[bytes]) -> bytes:
        """Return the answers to texts, one after the other.

        Raises:
            NotYet: it has failed within the last half minute.
            OSError: there is no process to answer.
        """
        link = await self._ready()
        answers = await link.ask(texts)
        self._used = self._clock.now()
        return answers

    async def _ready(self) -> Link:
        if self._link is not None and self._link.alive:
            return self._link
        if self._starting is None:
            if self._failed_at is not None and self._clock.now() < self._failed_at + _RETRY_SECONDS:
                raise NotYet(self.problem)
            self._starting = asyncio.create_task(self._start())
            # whoever asked may have gone by the time that it fails
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Link:
        try:
            self._link = await self._begin()
        finally:
            self._starting = None
        self._failed_at, self.problem = None, ""
        self._watch_idle(self._idle_seconds())
        return self._link

    def _watch_idle(self, seconds: float) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._clock.alarm(seconds, self._end_if_idle)

    def _end_if_idle(self) -> None:
        left = self._used + self._idle_seconds() - self._clock.now()
        if left > 0:
            self._watch_idle(left)
        elif self._link is not None:
            self._link.end()
            self._link = None

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning(self._consequence, extra={"reason": problem})
        self.problem = problem
        self._failed_at = self._clock.now()
        if self._link is not None:
            self._link.end()
            self._link = None
