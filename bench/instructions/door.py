"""The server's own RPC handlers and interceptors, called without gRPC.

The server is put together as ever, but for the object that `grpc.aio.server` returns: what is
mounted on it is called here the way grpc.aio would call it, each call in a task of its own. So
everything is run but gRPC's transport, and any part of the chain can be left out.
"""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import grpc

    Find = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


@dataclass(frozen=True)
class Details:
    """What grpc.aio tells interceptors of a call."""

    method: str
    invocation_metadata: tuple[()] = ()


class NoTransport:
    """In place of `grpc.aio.Server`: keeps what is mounted on it."""

    def __init__(self, *_: object, **options: Any) -> None:
        """Take the interceptors."""
        self.interceptors: list[Any] = list(options.get("interceptors") or ())
        self.handlers: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Take handlers; whoever is asked first is mounted first."""
        self.handlers.extend(handlers)

    def add_registered_method_handlers(self, *_: object) -> None:
        """Ignore what registers the same handlers again, for speed."""

    async def find(self, details: Any) -> Any:
        """Return the handler of a method, with nothing round it."""
        for one in self.handlers:
            if (handler := one.service(details)) is not None:
                return handler
        return None


@dataclass
class Context:
    """In place of `grpc.aio.ServicerContext`: a call without a deadline, from this machine."""

    written: list[Any] = field(default_factory=list)
    status: Any = None
    details: str = ""
    trailing: Any = ()

    def time_remaining(self) -> float | None:
        """Return no deadline."""
        return None

    def invocation_metadata(self) -> tuple[()]:
        """Return no metadata."""
        return ()

    def peer(self) -> str:
        """Return where a call comes from."""
        return "ipv4:127.0.0.1:50000"

    def code(self) -> Any:
        """Return the status that was set."""
        return self.status

    def set_code(self, code: Any) -> None:
        """Set the status."""
        self.status = code

    def set_details(self, details: str) -> None:
        """Set the message of the status."""
        self.details = details

    def trailing_metadata(self) -> Any:
        """Return the trailers."""
        return self.trailing

    def set_trailing_metadata(self, trailing: Any) -> None:
        """Set the trailers."""
        self.trailing = trailing

    async def send_initial_metadata(self, _metadata: Any) -> None:
        """Send nothing."""

    def cancelled(self) -> bool:
        """Return that the caller waits."""
        return False

    def done(self) -> bool:
        """Return that the call goes on."""
        return False

    def add_done_callback(self, _callback: Any) -> None:
        """Take a callback, which is never called."""

    async def write(self, message: Any) -> None:
        """Take a message of a handler that writes by itself."""
        self.written.append(message)

    async def abort(self, code: Any, details: str = "", trailing: Any = ()) -> None:
        """End the call with a status.

        Raises:
            RuntimeError: always, since no call that is counted may fail.
        """
        raise RuntimeError(f"{code}: {details} {trailing}")


class Door:
    """Calls the handlers through a list of interceptors, the first one outermost."""

    def __init__(self, server: NoTransport, interceptors: Sequence[Any]) -> None:
        """Put the interceptors round the server's handlers."""
        find: Find = server.find
        for one in reversed(interceptors):
            find = _round(one, find)
        self._find = find

    async def call(self, method: str, body: bytes) -> int:
        """Make a call in a task of its own; returns the number of messages."""
        return await asyncio.get_running_loop().create_task(self._serve(method, body))

    async def _serve(self, method: str, body: bytes) -> int:
        handler = await self._find(Details(method))
        context = Context()
        request = handler.request_deserializer(body)
        write = handler.response_serializer
        if not handler.response_streaming:
            write(await handler.unary_unary(request, context))
            return 1
        if inspect.iscoroutinefunction(handler.unary_stream):
            await handler.unary_stream(request, context)
            return sum(1 for message in context.written if write(message) is not None)
        messages = 0
        async for message in handler.unary_stream(request, context):
            write(message)
            messages += 1
        return messages


def _round(interceptor: Any, find: Find) -> Find:
    async def found(details: Any) -> Any:
        return await interceptor.intercept_service(find, details)

    return found
