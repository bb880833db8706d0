"""RPCs that are in no service of this server: they end with a reason, as every failure does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from gemini_backend.errors import NotImplementedYet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from google.protobuf.descriptor import ServiceDescriptor

    from gemini_backend.rpc.interceptors.edge import EdgeInterceptor

_LONGEST_PATH = 256
_LONGEST_NAME = 80


class UnknownMethods(grpc.GenericRpcHandler):
    """Has a handler for every path; to be added to a server after all others.

    The handler refuses the call before it reads a message. Whether the client sends one or many,
    and expects one or many, makes no difference to a call that ends with its headers.
    """

    def __init__(self, services: Sequence[ServiceDescriptor], edge: EdgeInterceptor) -> None:
        """Name `services` to whoever calls something else; report each call through `edge`."""
        self._services = services
        self._edge = edge

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the handler that refuses this path."""
        path = str(handler_call_details.method)[:_LONGEST_PATH]

        async def refuse(_requests: Any, _context: Any) -> AsyncIterator[Any]:
            raise NotImplementedYet(self._why(path))
            yield  # an async generator, as grpc.aio wants of a streaming handler

        return grpc.stream_stream_rpc_method_handler(self._edge.stream(path, refuse))

    def _why(self, path: str) -> str:
        name, _, method = path.removeprefix("/").partition("/")
        for service in self._services:
            if service.full_name == name:
                known = ", ".join(one.name for one in service.methods)
                return f"{name} has no RPC {_named(method)}; it has {known}"
        known = ", ".join(service.full_name for service in self._services)
        return f"this server has no service {_named(name)}; it has {known}"


def _named(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}…")
