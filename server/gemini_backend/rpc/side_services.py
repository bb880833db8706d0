"""Services of others: health, reflection, channelz. Their failures are typed like ours.

grpc.aio tells a caller the type and the words of whatever a handler or a reader of messages raises.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, cast

import grpc

from gemini_backend.errors import MalformedMessage
from gemini_backend.rpc.abort import end_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gemini_backend.rpc.call_factory import CallFactory
    from gemini_backend.rpc.interceptors.base import Context

_UNREADABLE: Final = object()
_LONGEST_PATH = 256


class SideServices:
    """Stands for a server to which services of others are added."""

    def __init__(self, server: Any, calls: CallFactory) -> None:
        """Add to `server`; `calls` makes the calls whose failures are told."""
        self._server = server
        self._calls = calls

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers whose failures are typed."""
        typed = tuple(_Typed(one, self._calls) for one in handlers)
        self._server.add_generic_rpc_handlers(typed)

    def add_registered_method_handlers(self, _service: str, _handlers: dict[str, Any]) -> None:
        """Do nothing, as grpc.aio's own server does."""


class _Typed(grpc.GenericRpcHandler):
    def __init__(self, inner: grpc.GenericRpcHandler, calls: CallFactory) -> None:
        self._inner = inner
        self._calls = calls

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        found: Any = self._inner.service(handler_call_details)
        if found is None:
            return None
        method = str(handler_call_details.method)[:_LONGEST_PATH]
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            inner = getattr(found, kind)
            if inner is not None:
                found = found._replace(**{kind: self._typed(method, inner)})
        read = found.request_deserializer
        if read is not None:
            found = found._replace(request_deserializer=_reading(read))
        return cast("grpc.RpcMethodHandler[Any, Any]", found)

    def _typed(self, method: str, inner: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return a handler of the same kind, which grpc.aio tells by its function."""

        async def fail(context: Context, error: Exception) -> None:
            if isinstance(error, grpc.aio.AbortError):
                raise error
            await end_with(context, self._calls.make(method, None, context), error)

        if inspect.isasyncgenfunction(inner):

            async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
                try:
                    async for message in inner(_readable(method, request), context):
                        yield message
                except Exception as error:  # noqa: BLE001 - told as every other failure
                    await fail(context, error)

            return stream

        async def unary(request: Any, context: Context) -> Any:
            try:
                answer = inner(_readable(method, request), context)
                return await answer if inspect.isawaitable(answer) else answer
            except Exception as error:  # noqa: BLE001 - told as every other failure
                await fail(context, error)

        return unary


def _reading(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def reads(data: bytes) -> Any:
        try:
            return read(data)
        except Exception:  # noqa: BLE001 - grpc.aio would tell the caller its words
            return _UNREADABLE

    return reads


def _readable(method: str, request: Any) -> Any:
    """Return a request, or the requests of a stream.

    Raises:
        MalformedMessage: one could not be read.
    """
    if hasattr(request, "__aiter__"):
        return _each_readable(method, request)
    if request is _UNREADABLE:
        raise MalformedMessage(
            f"the bytes are not a valid request of {method}; check the stubs of the client"
        )
    return request


async def _each_readable(method: str, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _readable(method, request)
