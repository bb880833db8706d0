"""The guard of gRPC's door: what an RPC presents, and services of others behind it as well."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final, cast

import grpc

from gemini_backend.config.network.peers import host_of
from gemini_backend.errors import ServiceError
from gemini_backend.identity.credentials import presented
from gemini_backend.rpc.abort import end_with

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gemini_backend.call import Call
    from gemini_backend.identity.credentials import Certificate, Credentials
    from gemini_backend.identity.guard import Guard
    from gemini_backend.principal import Principal
    from gemini_backend.rpc.call_factory import CallFactory
    from gemini_backend.rpc.interceptors.base import Context

AUTHORIZATION: Final = "authorization"
API_KEY: Final = "x-api-key"
CREDENTIALS: Final = frozenset({AUTHORIZATION, API_KEY})
"""Keys of metadata that nothing further in sees."""


class RpcGuard:
    """Asks the guard with what an RPC presents."""

    def __init__(
        self, guard: Guard, certificate_of: Callable[[Context], Certificate | None] | None
    ) -> None:
        """Ask `guard`; `certificate_of` returns a peer's certificate, None where none counts."""
        self._guard = guard
        self._certificate_of = certificate_of

    def is_open(self, method: str) -> bool:
        """Return whether an RPC needs no authentication."""
        return self._guard.is_open(method)

    def known(self, call: Call, context: Context) -> Principal | None:
        """Return who calls, and may, if that takes no waiting."""
        return self._guard.known(call.method, self._credentials(call, context))

    async def admit(self, call: Call, context: Context) -> Principal:
        """Return who calls, and may.

        Raises:
            ServiceError: nobody who may.
        """
        return await self._guard.admit(call.method, self._credentials(call, context))

    def _credentials(self, call: Call, context: Context) -> Credentials:
        return presented(
            _joined(context, AUTHORIZATION),
            _joined(context, API_KEY),
            self._certificate_of,
            context,
            host_of(call.peer),
        )


def _joined(context: Context, name: str) -> str:
    """Return what an RPC has by a name; several entries are one, which is nobody's credential."""
    metadata: Any = context.invocation_metadata() or ()
    values: list[str] = [value for key, value in metadata if key == name]
    return ", ".join(values)


class Guarded:
    """Stands for a server to which services of others are added: the guard is asked first."""

    def __init__(self, server: Any, guard: RpcGuard, calls: CallFactory) -> None:
        """Add to `server`; `calls` makes the call that is asked for."""
        self._server = server
        self._guard = guard
        self._calls = calls

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers that are reached by those who may."""
        guarded = tuple(_Guarded(one, self._guard, self._calls) for one in handlers)
        self._server.add_generic_rpc_handlers(guarded)

    def add_registered_method_handlers(self, _service: str, _handlers: dict[str, Any]) -> None:
        """Do nothing, as grpc.aio's own server does."""


class _Guarded(grpc.GenericRpcHandler):
    def __init__(self, inner: grpc.GenericRpcHandler, guard: RpcGuard, calls: CallFactory) -> None:
        self._inner = inner
        self._guard = guard
        self._calls = calls

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        found: Any = self._inner.service(handler_call_details)
        method = str(handler_call_details.method)
        if found is None or self._guard.is_open(method):
            return cast("grpc.RpcMethodHandler[Any, Any] | None", found)
        for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
            inner = getattr(found, kind)
            if inner is not None:
                found = found._replace(**{kind: self._behind(method, inner)})
        return cast("grpc.RpcMethodHandler[Any, Any]", found)

    def _behind(self, method: str, inner: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Return a handler of the same kind, which grpc.aio tells by its function."""

        async def admit(context: Context) -> None:
            call = self._calls.make(method, None, context)
            try:
                if self._guard.known(call, context) is None:
                    await self._guard.admit(call, context)
            except ServiceError as error:
                await end_with(context, call, error)

        if inspect.isasyncgenfunction(inner):

            async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
                await admit(context)
                async for message in inner(request, context):
                    await admit(context)  # again: nothing is told to a key revoked meanwhile
                    yield message

            return stream

        async def unary(request: Any, context: Context) -> Any:
            await admit(context)
            answer = inner(request, context)
            return await answer if inspect.isawaitable(answer) else answer

        return unary
