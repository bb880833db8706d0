"""The RPCs under way, so that those which outlive the grace period can be told why they end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini_backend.errors import Draining, Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gemini_backend.call import Call
    from gemini_backend.errors import ServiceError


class Running:
    """Knows the task of every RPC of ours; bounded by the RPCs themselves.

    Attributes:
        tasks: Each call and its task, by the name of its execution; to be read only.
    """

    def __init__(self) -> None:
        """Know none yet."""
        self.tasks: dict[str, tuple[Call, asyncio.Task[Any]]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.tasks)

    def enter(self, call: Call) -> None:
        """An RPC begins, in the current task."""
        task = asyncio.current_task()
        if task is not None:
            self.tasks[call.execution] = (call, task)

    def leave(self, call: Call) -> None:
        """An RPC has ended."""
        self.tasks.pop(call.execution, None)

    def of_same_peer(self, _call: Call, /) -> int:
        """Return how many RPCs run that come from where a call comes from; 0 if not counted."""
        return 0

    def cut_short(self) -> None:
        """End every RPC that still runs; each one fails as Draining."""
        self._end(
            self.tasks.values(),
            lambda: Draining(
                "the server is stopping and its grace period (server.drain_seconds) is over; "
                "retry on another server"
            ),
        )

    def cut_short_of(self, api_key: str, why: str) -> None:
        """End every RPC that was made with an API key; each one fails as Unauthenticated."""
        self._end(
            (one for one in self.tasks.values() if one[0].principal.api_key == api_key),
            lambda: Unauthenticated(why),
        )

    @staticmethod
    def _end(
        running: Iterable[tuple[Call, asyncio.Task[Any]]], why: Callable[[], ServiceError]
    ) -> None:
        for call, task in list(running):
            call.outcome.cut_short = why()
            task.cancel()
