"""What every interceptor of ours has in common: it stands round the handler's function.

grpc.aio tells handlers apart by `iscoroutinefunction` and `isasyncgenfunction`, so what is put
in their place must be a real `async def` or a real async generator function. A streaming handler
may also be a coroutine that writes through its context: the health service's Watch is one, and
so is what an interceptor puts in place of a handler to refuse a call.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message_factory import GetMessageClass

from gemini_backend.call import Call
from gemini_backend.policies.event_stream import EventStream
from gemini_backend.policies.opening import begun
from gemini_backend.rpc.contract import SERVICES, streaming_by_method

if TYPE_CHECKING:
    from google.protobuf.message import Message

    Context = grpc.aio.ServicerContext[Any, Any]
    Handler = grpc.RpcMethodHandler[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]

UnaryHandler = Callable[[Any, Any], Awaitable[Any]]
StreamHandler = Callable[[Any, Any], AsyncIterator[Any]]

Opening = Callable[[Any, Any], Awaitable[EventStream]]
Serves = Callable[[Call, Any], Any]

_OPENS = "_gemini_backend_opens"
_SERVES = "_gemini_backend_serves"
METHODS = streaming_by_method(SERVICES)
_ANSWERS = {
    f"/{service.full_name}/{method.name}": GetMessageClass(method.output_type)
    for service in SERVICES
    for method in service.methods
}


def is_ours(method: str) -> bool:
    """Say whether a method belongs to this product's own contract."""
    return method in METHODS


def answer_type(method: str) -> type[Message]:
    """Return the type of an answer, or of its events; any type for a method that is not ours."""
    return _ANSWERS.get(method, Empty)


def serving(handler: Any, serves: Serves) -> Any:
    """Return a handler, marked as one that only hands call and request to `serves`.

    Args:
        handler: It finds the call by `current_call()`, and has no use for its context.
        serves: Returns what is awaited for the answer, or the iterator of a stream.
    """
    setattr(handler, _SERVES, serves)
    return handler


def served_by(handler: Any) -> Serves | None:
    """Return what a handler hands call and request to; None where that is not known.

    For whoever has both: handlers within handlers would cost each call a coroutine each.
    """
    serves: Serves | None = getattr(handler, _SERVES, None)
    return serves


def generating(opens: Opening, method: str) -> StreamHandler:
    """Return what opens a stream as the async generator function that grpc.aio asks for.

    It yields messages, for interceptors that are not ours, where events are bytes already.
    """
    read = answer_type(method).FromString

    async def handler(request: Any, context: Any) -> AsyncIterator[Any]:
        stream = await opens(request, context)
        try:
            while (event := await stream.next()) is not None:
                yield read(event) if type(event) is bytes else event
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise await stream.aclose(error) from error.__cause__

    setattr(handler, _OPENS, opens)
    return handler


def opening_of(handler: StreamHandler) -> Opening:
    """Return what `generating` was given; of any other handler what opens its stream.

    For whoever makes a generator round it anyway: two would cost each event twice.
    """
    opens: Opening | None = getattr(handler, _OPENS, None)
    if opens is not None:
        return opens

    async def begin(request: Any, context: Any) -> EventStream:
        return await begun(handler(request, context))

    return begin


class WrappingInterceptor(grpc.aio.ServerInterceptor):
    """Puts `unary` or `stream` round the handler of each method of ours.

    The wrapped handler is kept, one a method: the set of methods is bounded by the contract.
    """

    def __init__(self) -> None:
        """Have wrapped nothing yet."""
        self._kept: dict[str, tuple[Handler, Handler]] = {}

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Return what stands in place of a handler that answers once."""
        raise NotImplementedError

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Return what stands in place of a handler that streams."""
        raise NotImplementedError

    def writing(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Return what stands in place of a handler that writes its stream by itself."""
        return inner

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Wrap the handler of a method of ours; what else is served stays as it is."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not is_ours(method):
            return handler
        kept = self._kept.get(method)
        if kept is None or kept[0] is not handler:
            kept = self._kept[method] = (handler, self.wrap(handler, method))
        return kept[1]

    def wrap(self, handler: Any, method: str) -> Handler:
        """Return a handler of a method of ours with this round it."""
        kind = _kind(handler)
        inner = getattr(handler, kind)
        waits = inspect.iscoroutinefunction(inner)
        if handler.response_streaming:
            wrapped: object = (self.writing if waits else self.stream)(method, inner)
        else:
            wrapped = self.unary(method, inner)
        make: Callable[..., Handler] = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(wrapped, handler.request_deserializer, handler.response_serializer)


def _kind(handler: Any) -> str:
    """Return the name of the handler's field that holds its function."""
    request = "stream" if handler.request_streaming else "unary"
    response = "stream" if handler.response_streaming else "unary"
    return f"{request}_{response}"
