"""A thread that does one job after another for the event loop, in the order in which they came.

An executor would do, at several times the price of handing a job over: that is what a turn of a
session pays twice.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", "Callable[[], Any]"]


class OneThread:
    """Begins with its first job. Not bounded: whoever gives jobs has to be."""

    def __init__(self, name: str) -> None:
        """Have no thread yet; `name` is what it will be called."""
        self._name = name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, job: Callable[[], T]) -> T:
        """Do a job and return what it gives, or raise what it raises.

        One that is cancelled before its turn has come is not done.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((loop, future, job))
        return await future

    def close(self) -> None:
        """End the thread once it has done what it was given."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _serve(self) -> None:
        while (work := self._jobs.get()) is not None:
            loop, future, job = work
            if future.cancelled():
                continue
            given, error = None, None
            try:
                given = job()
            except BaseException as raised:  # noqa: BLE001 - it is raised where the job is awaited
                error = raised
            with suppress(RuntimeError):  # the loop was closed, so nobody waits
                loop.call_soon_threadsafe(_settle, future, given, error)
            del work, future, job, given, error  # nothing is held until the next job comes


def _settle(future: asyncio.Future[Any], given: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(given)
    else:
        future.set_exception(error)
