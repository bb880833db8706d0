"""A coroutine that is begun at once and awaited later, without a task of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Generator


class Begun:
    """Runs a coroutine up to its first wait; `await` runs the rest, once.

    A task would cost a turn of the event loop before the coroutine begins, and another one when it
    has ended. Only for coroutines that wait for futures of the running loop. Whoever does not await
    it drops it.
    """

    __slots__ = ("_coroutine", "_waits_for")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Begin.

        Raises:
            BaseException: what the coroutine raises before it waits.
        """
        self._coroutine = coroutine
        self._waits_for: asyncio.Future[Any] | None
        try:
            self._waits_for = coroutine.send(None)
        except StopIteration:
            self._waits_for = None

    def __await__(self) -> Generator[Any, None, None]:
        """Wait for the end.

        Raises:
            BaseException: what the coroutine raises.
        """
        while (future := self._waits_for) is not None:
            if not future.done():
                try:
                    yield future  # to the task, as `await` in the coroutine itself would
                except BaseException:
                    self.drop()
                    raise
            self._waits_for = None
            try:
                self._waits_for = self._coroutine.send(None)
            except StopIteration:
                return

    def drop(self) -> None:
        """Have it end where it waits: nobody wants to know how what it waits for ends."""
        future, self._waits_for = self._waits_for, None
        if future is not None:
            future.cancel()
            self._coroutine.close()
