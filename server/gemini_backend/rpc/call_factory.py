"""A `Call` out of what gRPC says of an RPC."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gemini_backend.call import Call

if TYPE_CHECKING:
    from gemini_backend.clock import Clock
    from gemini_backend.rpc.interceptors.base import Context


def new_execution_id() -> str:
    """Return a new id of 26 hexadecimal digits; later ones sort after earlier ones."""
    milliseconds = time.time_ns() // 1_000_000
    return f"{milliseconds:011x}{os.urandom(8).hex()[1:]}"


class CallMaker:
    """Makes the call of each RPC."""

    def __init__(self, clock: Clock, idempotent: frozenset[str]) -> None:
        """Read the time off `clock`; `idempotent` are the methods whose option says so."""
        self._clock = clock
        self._idempotent = idempotent

    def make(self, method: str, context: Context) -> Call:
        """Return the call that arrives now, with the caller's own deadline."""
        now = self._clock.now()
        left: Any = context.time_remaining()  # None without a deadline
        metadata: Any = context.invocation_metadata()
        return Call(
            method=method,
            execution=f"executions/{new_execution_id()}",
            arrived=now,
            deadline=None if left is None else now + left,
            idempotent=method in self._idempotent,
            metadata={key: value for key, value in metadata or () if isinstance(value, str)},
        )
