"""Counts RPCs; outside the errors layer, so that it sees the code that the caller sees."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from gemini_backend.call import Call, current_call
from gemini_backend.policies.base import opened
from gemini_backend.rpc.interceptors.base import (
    StreamHandler,
    UnaryHandler,
    WrappingInterceptor,
)
from gemini_backend.rpc.status import CODES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.clock import Clock
    from gemini_backend.rpc.interceptors.base import Context


class RpcMetrics(Protocol):
    """Where the counts go."""

    def rpc_started(self, method: str) -> None:
        """One more in flight."""
        ...

    def rpc_finished(self, method: str, code: str, reason: str, seconds: float) -> None:
        """One less in flight, and how it ended."""
        ...


class MetricsInterceptor(WrappingInterceptor):
    """Tells `metrics` of the start and the end of every RPC of ours."""

    def __init__(self, metrics: RpcMetrics, clock: Clock) -> None:
        """Measure by `clock`."""
        super().__init__()
        self._metrics = metrics
        self._clock = clock

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Count round the handler."""

        async def handler(request: Any, context: Context) -> Any:
            call = current_call()
            self._metrics.rpc_started(method)
            error: BaseException | None = None
            try:
                return await inner(request, context)
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._finished(call, context, error)

        return handler

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Count round the handler."""

        async def handler(request: Any, context: Context) -> AsyncIterator[Any]:
            call = current_call()
            self._metrics.rpc_started(method)
            error: BaseException | None = None
            try:
                async with opened(inner(request, context)) as events:
                    async for event in events:
                        yield event
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._finished(call, context, error)

        return handler

    def _finished(self, call: Call, context: Context, error: BaseException | None) -> None:
        now = self._clock.now()
        code, reason = "OK", ""
        if call.error is not None:
            code, reason = call.error.code.name, call.error.reason
        elif isinstance(error, (asyncio.CancelledError, GeneratorExit)):
            late = call.deadline is not None and now >= call.deadline
            code, reason = ("DEADLINE_EXCEEDED" if late else "CANCELLED"), "CALLER_CANCELLED"
        elif error is not None:  # ended by somebody else's interceptor
            code = _ended_with(context)
        self._metrics.rpc_finished(call.method, code, reason, now - call.arrived)

    def __repr__(self) -> str:
        """Name the interceptor."""
        return "Metrics()"


def _ended_with(context: Context) -> str:
    """Return the code that somebody else set; grpc.aio gives its number, or nothing yet."""
    number: Any = context.code()
    return CODES[int(number or 0)].name
