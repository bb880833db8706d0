"""A `Call` out of what gRPC says of an RPC."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gemini_backend.api.requests.work import work_of
from gemini_backend.call import UNLIMITED, Attempts, Call, FixedBudget
from gemini_backend.rpc.unread import Unread

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.rpc.interceptors.base import Context


PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"
"""In the metadata of an RPC that gRPC makes again by itself (gRFC A6)."""


def new_execution_id() -> str:
    """Return a new id of 26 hexadecimal digits; later ones sort after earlier ones."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{milliseconds:011x}{os.urandom(8).hex()[1:]}"


class CallFactory:
    """Makes the call of each RPC."""

    def __init__(self, clock: Clock) -> None:
        """Read the time off `clock`."""
        self._clock = clock

    def make(self, method: str, request: Any, context: Context) -> Call:
        """Return the call that arrives now, with the caller's own deadline."""
        now = self._clock.now()
        left: Any = context.time_remaining()  # None without a deadline
        metadata: Any = context.invocation_metadata()
        texts = {key: value for key, value in metadata or () if isinstance(value, str)}
        return Call(
            method=method,
            execution=f"executions/{new_execution_id()}",
            arrived=now,
            work=work_of(method),
            budget=UNLIMITED if left is None else FixedBudget(now + left),
            metadata=texts,
            request_id=getattr(request, "request_id", ""),
            peer=context.peer(),
            large=len(request.data) if type(request) is Unread else 0,
            attempts=Attempts(again=PREVIOUS_ATTEMPTS in texts),
        )
