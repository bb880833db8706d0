"""A `Call` out of what gRPC says of an RPC."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from gemini_backend.api.requests.work import work_of
from gemini_backend.call import UNLIMITED, Attempts, Call, FixedBudget
from gemini_backend.principal import ANONYMOUS
from gemini_backend.rpc.unread import Unread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gemini_backend.clock import Clock
    from gemini_backend.principal import Principal
    from gemini_backend.rpc.interceptors.base import Context


PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"
"""In the metadata of an RPC that gRPC makes again by itself (gRFC A6)."""


_AHEAD = 1 << 44  # puts a 1 ahead of eleven hexadecimal digits of milliseconds, until 2527
_RANDOM_DIGITS = 15
_AT_ONCE = 256


def _random_digits() -> Iterator[str]:
    """Yield random hexadecimal digits for one id after the other, drawn for many at once."""
    while True:
        drawn = os.urandom(_AT_ONCE * _RANDOM_DIGITS // 2).hex()
        for at in range(0, len(drawn), _RANDOM_DIGITS):
            yield drawn[at : at + _RANDOM_DIGITS]


_random = _random_digits()


def new_execution_id() -> str:
    """Return a new id of 26 hexadecimal digits; later ones sort after earlier ones.

    To be asked by the thread of the event loop only.
    """
    milliseconds = hex(_AHEAD + time.time_ns() // 1_000_000)
    return milliseconds[len("0x1") :] + next(_random)


class CallFactory:
    """Makes the call of each RPC."""

    def __init__(self, clock: Clock, at_first: Principal = ANONYMOUS) -> None:
        """Read the time off `clock`; a call is `at_first`'s, until it is known who calls."""
        self._clock = clock
        self._at_first = at_first

    def make(self, method: str, request: Any, context: Context) -> Call:
        """Return the call that arrives now, with the caller's own deadline."""
        now = self._clock.now()
        left: Any = context.time_remaining()  # None without a deadline
        metadata: Any = context.invocation_metadata()
        texts = {key: value for key, value in metadata or () if type(value) is str}
        return Call(  # by place: this is done for each call
            method,
            f"executions/{new_execution_id()}",
            now,
            work_of(method),
            UNLIMITED if left is None else FixedBudget(now + left),
            self._at_first,
            texts,
            getattr(request, "request_id", ""),
            context.peer(),
            large=len(request.data) if type(request) is Unread else 0,
            attempts=Attempts(again=PREVIOUS_ATTEMPTS in texts),
        )
