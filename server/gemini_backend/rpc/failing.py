"""Ends an RPC with a failure.

What was raised and is no `ServiceError` is a defect of ours: the caller gets an opaque id, and
the log gets the traceback under that id, without the values that the code had in hand.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, NoReturn

from gemini_backend.errors import ServiceError, Unexpected
from gemini_backend.rpc.status import CODES, status_of, trailers_of

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.rpc.interceptors.base import Context

_log = logging.getLogger(__name__)


async def end_with(context: Context, call: Call, error: Exception) -> NoReturn:
    """Send the error's status with the call's trailers; note it on the call.

    Raises:
        grpc.aio.AbortError: always, as gRPC wants it.
    """
    known = call.error = service_error_of(call, error)
    status = status_of(known)
    before = context.trailing_metadata() or ()
    trailers = (*before, *call.trailers.items(), *trailers_of(known, status).items())
    await context.abort(CODES[int(known.code)], known.message, trailers)
    raise AssertionError  # abort always raises


def service_error_of(call: Call, error: Exception) -> ServiceError:
    """Return the error itself, or what stands for a defect, which goes into the log."""
    return error if isinstance(error, ServiceError) else _unexpected(call, error)


def _unexpected(call: Call, error: Exception) -> Unexpected:
    frames = traceback.extract_tb(error.__traceback__)
    _log.error(
        "unexpected failure",
        extra={
            "execution": call.execution,
            "method": call.method,
            "error_type": type(error).__qualname__,
            "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        },
    )
    return Unexpected(
        f"a defect of the server, not of the request; its log tells more under {call.execution}"
    )
