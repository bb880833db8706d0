"""Layers that may replace the rest of a call, repeat it, or run it apart from its caller."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from gemini_backend.call import Call
from gemini_backend.policies.event_stream import EventStream

# The rest of a call: a whole answer, or a stream whose first event is there.
Whole = Callable[[Call, Any], Awaitable[Any]]
Opens = Callable[[Call, Any], Awaitable[EventStream]]


class Wrapper(ABC):
    """Stands round the rest, which it may run 0 to n times.

    Both methods may be plain functions that return `proceed(call, request)` where there is nothing
    to do. What it wants to see of a stream that is open it watches (`EventStream.watch`), without a
    loop of its own. A stream that it has opened and does not hand on is to be closed.
    """

    def is_on(self) -> bool:
        """Return whether its options have it take part in calls that begin now."""
        return True

    @abstractmethod
    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer the request, by `proceed` or without it."""

    @abstractmethod
    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Open a stream that answers the request, by `proceed` or without it."""


class Around(Wrapper):
    """A wrapper that does the same for both kinds of answer: it ends when the answer is there.

    `started_of` gives what it may write into for the caller to see.
    """

    @abstractmethod
    def run(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Return the answer, whole or open, by `proceed` or without it."""

    def unary(self, call: Call, request: Any, proceed: Whole, /) -> Awaitable[Any]:
        """Answer the request."""
        return self.run(call, request, proceed)

    def stream(self, call: Call, request: Any, proceed: Opens, /) -> Awaitable[EventStream]:
        """Open a stream that answers it."""
        return self.run(call, request, proceed)
