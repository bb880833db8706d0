"""How long a client's own retries have to wait: `grpc-retry-pushback-ms` (gRFC A6)."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gemini_backend.errors import ServiceError

PUSHBACK_KEY = "grpc-retry-pushback-ms"
NEVER = -1
_SHORTEST, _LONGEST = 2.0, 5.0
"""Seconds that a client waits on top of attempts that this server has made already."""


def pushback_of(error: ServiceError, execution: str, remaining: float | None) -> int | None:
    """Return the milliseconds to wait before a retry, `NEVER`, or None to leave it to the client.

    - `NEVER` if and only if a failure of this kind is not to be retried.
    - The time that the error names, where it names one.
    - Where it names none and this server's own attempts are used up, or would all fail alike: 2 to
      5 seconds, another time for each execution, so that clients do not return together; within a
      deadline at most half of what is left of it.
    - None where the time named is not within the deadline: a client would wait in vain, and report
      the deadline in place of the failure.

    Args:
        error: Why the call failed.
        execution: The name of what it began.
        remaining: Seconds until the deadline; None for no deadline.
    """
    if not error.retryable:
        return NEVER
    wait = error.retry_after
    if wait is None and (error.final or error.lasting):
        spread = zlib.crc32(execution.encode()) / 0xFFFFFFFF
        own = _SHORTEST + (_LONGEST - _SHORTEST) * spread
        wait = own if remaining is None else min(own, remaining / 2)
    if wait is None or (remaining is not None and wait >= remaining):
        return None
    return math.ceil(wait * 1000)
