"""Limits any interceptor, other people's too, to some methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.rpc.interceptors.base import Continuation, Handler


class Only(grpc.aio.ServerInterceptor):
    """Asks `inner` for the methods of one kind, and is not there for all others.

    Other people's interceptors often break on handlers that are not of the usual kind, such as
    the health service's Watch; our own methods are all of the usual kind.
    """

    def __init__(self, inner: grpc.aio.ServerInterceptor, applies: Callable[[str], bool]) -> None:
        """Limit `inner` to the methods for which `applies` returns True."""
        self._inner = inner
        self._applies = applies

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """Ask `inner`, or go past it."""
        if self._applies(handler_call_details.method):
            return await self._inner.intercept_service(continuation, handler_call_details)
        return await continuation(handler_call_details)

    def __repr__(self) -> str:
        """Name what is limited."""
        return f"Only({type(self._inner).__name__})"
