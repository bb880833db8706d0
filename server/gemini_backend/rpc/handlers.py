"""Handlers for every RPC of the contract, made from the descriptors.

Requests are read here rather than by grpc's own hook, because a request that cannot be read must
end in a typed status like any other mistake. An RPC that the contract has and the servicer has
not answers UNIMPLEMENTED, with a reason that says so.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gemini_backend.call import current_call
from gemini_backend.errors import NotImplementedYet, ServiceError
from gemini_backend.processing.slices import LARGE
from gemini_backend.rpc.compressed import BEGINNINGS, too_large, unpacked_at_once
from gemini_backend.rpc.interceptors.base import serving
from gemini_backend.rpc.unread import Unread, malformed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

    from gemini_backend.call import Call


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a request that could not be read; the errors layer raises `error`."""

    error: ServiceError


def handlers_of(
    service: ServiceDescriptor,
    servicer: object,
    max_bytes: int,
    read_as: dict[str, type[Message]] | None = None,
) -> grpc.GenericRpcHandler:
    """Return the handlers of one service.

    Args:
        service: Its descriptor.
        servicer: Has a method for each RPC that it can do, by the RPC's name: call and request in,
            message or stream of messages out. The call is that of the current task.
        max_bytes: The largest request message.
        read_as: Methods whose request is read as another, wire-compatible message.
    """
    handlers = {}
    for method in service.methods:
        request_type = (read_as or {}).get(method.name) or GetMessageClass(method.input_type)
        response_type = GetMessageClass(method.output_type)
        kind = f"{_way(method.client_streaming)}_{_way(method.server_streaming)}"
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        handlers[method.name] = make(
            _handler(method, servicer),
            _reader(request_type, max_bytes, at_once=bool(method.client_streaming)),
            _writer(response_type),
        )
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _handler(method: MethodDescriptor, servicer: object) -> Any:
    """Return the service's method as grpc.aio calls it; a stream's iterator is handed on as is."""
    served: Callable[[Call, Any], Any] | None = getattr(servicer, method.name, None)
    if served is None:
        return _unimplemented(method)
    if method.server_streaming:
        return serving(lambda request, _context: served(current_call(), request), served)

    async def unary(request: Any, _context: Any) -> Any:
        return await served(current_call(), request)

    return serving(unary, served)


def _way(streaming: object) -> str:
    return "stream" if streaming else "unary"


def _reader(
    request_type: type[Message], max_bytes: int, *, at_once: bool
) -> Callable[[bytes], object]:
    """Return what reads a request; one that takes long is left to the edge, unless `at_once`."""
    name = request_type.DESCRIPTOR.full_name
    small = max_bytes if at_once else min(LARGE, max_bytes)

    def read(data: bytes) -> object:
        if data.startswith(BEGINNINGS):
            try:
                found = unpacked_at_once(data, small)
            except zlib.error:
                found = data
            if found is None:
                if at_once:
                    return Malformed(too_large(name, max_bytes + 1, max_bytes))
                return Unread(request_type, data, max_bytes)
            data = found
        if len(data) > small:
            if len(data) <= max_bytes:
                return Unread(request_type, data, max_bytes)
            return Malformed(too_large(name, len(data), max_bytes))
        try:
            return request_type.FromString(data)
        except DecodeError:
            return Malformed(malformed(name))

    return read


def _writer(response_type: type[Message]) -> Callable[[Any], bytes]:
    """Return what serialises an answer, or an event of one; one that is bytes already stays so."""
    serialised = response_type.SerializeToString

    def write(answer: Any) -> bytes:
        return answer if type(answer) is bytes else serialised(answer)

    return write


def _unimplemented(method: MethodDescriptor) -> Callable[[Any, Any], Any]:
    def refuse() -> NoReturn:
        msg = f"{method.full_name} is in the contract, but this version does not support it yet"
        raise NotImplementedYet(msg)

    async def unary(_request: Any, _context: Any) -> Any:
        refuse()

    async def stream(_request: Any, _context: Any) -> AsyncIterator[Any]:
        refuse()
        yield  # an async generator, as grpc.aio wants of a streaming handler

    return stream if method.server_streaming else unary
