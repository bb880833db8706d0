"""A chain round a handler, without a server or a socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence


@dataclass
class Details:
    """What an interceptor is given of a call before its request."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


@dataclass
class FakeContext:
    """What a handler sees of a call; remembers how it was ended."""

    left: float | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    ended_with: grpc.StatusCode | None = None
    said: str = ""
    trailers: tuple[tuple[str, Any], ...] = ()
    callbacks: list[Any] = field(default_factory=list)
    initial: tuple[tuple[str, str], ...] = ()

    def time_remaining(self) -> float | None:
        return self.left

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self.metadata

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.initial = metadata

    def trailing_metadata(self) -> tuple[tuple[str, Any], ...]:
        return self.trailers

    def set_trailing_metadata(self, trailers: tuple[tuple[str, Any], ...]) -> None:
        self.trailers = trailers

    def peer(self) -> str:
        return "ipv4:127.0.0.1:0"

    def code(self) -> int:
        return self.ended_with.value[0] if self.ended_with else 0

    def details(self) -> str:
        return self.said

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> None:
        self.ended_with, self.said, self.trailers = code, details, tuple(trailing_metadata)
        raise grpc.aio.AbortError("locally aborted")


async def bind(
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    handler: grpc.RpcMethodHandler[Any, Any] | None,
    method: str,
) -> Any:
    """Return the handler that a server with these interceptors would run."""

    async def at(index: int, details: Details) -> Any:
        if index == len(interceptors):
            return handler
        return await interceptors[index].intercept_service(
            lambda inner: at(index + 1, inner), details
        )

    return await at(0, Details(method))


async def collect(events: AsyncIterator[Any]) -> list[Any]:
    """Return all that an iterator gives."""
    return [event async for event in events]


def unary_handler(answer: Callable[[Any, Any], Any]) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a handler that answers once."""
    return grpc.unary_unary_rpc_method_handler(answer)


def stream_handler(answer: Callable[[Any, Any], Any]) -> grpc.RpcMethodHandler[Any, Any]:
    """Return a handler that streams."""
    return grpc.unary_stream_rpc_method_handler(answer)
