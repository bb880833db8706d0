"""Makes the `Call` that every layer further in knows, and publishes it for the RPC's task."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from gemini_backend.call import CURRENT, Call
from gemini_backend.policies.base import opened
from gemini_backend.rpc.interceptors.base import StreamHandler, UnaryHandler, WrappingInterceptor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.clock import Clock
    from gemini_backend.rpc.interceptors.base import Context

_EPOCH_DIGITS = 11
_RANDOM_BITS = 60


def new_execution_id() -> str:
    """Return a new id of 26 hexadecimal digits; later ones sort after earlier ones."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{milliseconds:0{_EPOCH_DIGITS}x}{secrets.randbits(_RANDOM_BITS):015x}"


class CallInterceptor(WrappingInterceptor):
    """Outermost of our own: whatever is further in finds the call by `current_call()`."""

    def __init__(self, clock: Clock, idempotent: frozenset[str]) -> None:
        """Read the time off `clock`; `idempotent` are the methods whose option says so."""
        super().__init__()
        self._clock = clock
        self._idempotent = idempotent

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Publish a call, then run the handler."""

        async def handler(request: Any, context: Context) -> Any:
            CURRENT.set(self._call(method, context))
            return await inner(request, context)

        return handler

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Publish a call, then run the handler."""

        async def handler(request: Any, context: Context) -> AsyncIterator[Any]:
            CURRENT.set(self._call(method, context))
            async with opened(inner(request, context)) as events:
                async for event in events:
                    yield event

        return handler

    def _call(self, method: str, context: Context) -> Call:
        now = self._clock.now()
        left: Any = context.time_remaining()  # None without a deadline
        metadata: Any = context.invocation_metadata()
        return Call(
            method=method,
            execution=new_execution_id(),
            arrived=now,
            deadline=None if left is None else now + left,
            idempotent=method in self._idempotent,
            metadata={key: value for key, value in metadata or () if isinstance(value, str)},
        )

    def __repr__(self) -> str:
        """Name the interceptor."""
        return "Calls()"
