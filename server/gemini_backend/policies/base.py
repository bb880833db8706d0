"""The shape of a policy, and how policies are put together.

A policy wraps "the rest of the call" (`proceed`), for both kinds of answer. It may run the rest 0
to n times.

Rules that keep it sound: a policy raises `ServiceError`s only and lets CancelledError and foreign
exceptions pass; no task-bound scope (`asyncio.timeout`, TaskGroup, a context variable's token)
spans a `yield`; an inner iterator is closed by whoever opened it; requests are read-only. What
`stream` does before it returns is done within the call's own task, like the rest.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, Protocol, TypeVar, cast

from gemini_backend.call import Call

Req = TypeVar("Req")
Res = TypeVar("Res")
Unary = Callable[[Call, Req], Awaitable[Res]]
Stream = Callable[[Call, Req], AsyncIterator[Res]]


class Policy(Protocol):
    """Something that stands round the rest of a call."""

    def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Awaitable[Any]:
        """Answer the request, by `proceed` or without it."""
        ...

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Yield the events of the answer, by `proceed` or without it."""
        ...


def with_model(request: Any, model: str) -> Any:
    """Return the request for a model: itself where it names it already, else a changed copy."""
    if request.model == model:
        return request
    changed = type(request)()
    changed.CopyFrom(request)
    changed.model = model
    return changed


def opened(events: AsyncIterator[Res]) -> AbstractAsyncContextManager[AsyncGenerator[Res, None]]:
    """Return a scope that closes `events` at its end, whichever way it ends."""
    return aclosing(cast("AsyncGenerator[Res, None]", events))
