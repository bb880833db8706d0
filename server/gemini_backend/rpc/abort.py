"""Ends an RPC with the status of a failure; `context.abort` is called nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from gemini_backend.api.requests.status import refusal_of
from gemini_backend.api.requests.unexpected import service_error_of

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.rpc.interceptors.base import Context

CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


async def end_with(context: Context, call: Call, error: Exception) -> NoReturn:
    """Send the error's status with the call's trailers; note it on the call.

    Raises:
        grpc.aio.AbortError: always, as gRPC wants it.
    """
    known = call.outcome.error = service_error_of(call, error)
    before: Any = context.trailing_metadata() or ()
    others = (*before, *call.outcome.trailers.items())
    remaining: Any = context.time_remaining()  # None without a deadline
    message, trailers = refusal_of(known, call.execution, others=others, remaining=remaining)
    await context.abort(CODES[int(known.code)], message, (*others, *trailers.items()))
    raise AssertionError  # abort always raises
