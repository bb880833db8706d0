"""The only place that ends an RPC with a failure; everything further in simply raises.

What is raised and is no `ServiceError` is a defect of ours: the caller gets an opaque id, and
the log gets the traceback under that id, without the values that the code had in hand.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from gemini_backend.call import Call, current_call
from gemini_backend.errors import ServiceError, Unexpected
from gemini_backend.policies.base import opened
from gemini_backend.rpc.interceptors.base import (
    StreamHandler,
    UnaryHandler,
    WrappingInterceptor,
)
from gemini_backend.rpc.services import Malformed
from gemini_backend.rpc.status import CODES, status_of, trailers_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.rpc.interceptors.base import Context

_log = logging.getLogger(__name__)


class ErrorsInterceptor(WrappingInterceptor):
    """Turns what is raised further in into a status, and sends the call's trailers."""

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the handler; end the RPC as it ended."""

        async def handler(request: Any, context: Context) -> Any:
            call = current_call()
            try:
                response = await inner(_readable(request), context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence, by design
                await _end(context, call, error)
            if call.trailers:
                context.set_trailing_metadata(_trailers(context, call))
            return response

        return handler

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Run the handler; end the RPC as it ended."""

        async def handler(request: Any, context: Context) -> AsyncIterator[Any]:
            call = current_call()
            try:
                async with opened(inner(_readable(request), context)) as events:
                    async for event in events:
                        yield event
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence, by design
                await _end(context, call, error)
            if call.trailers:
                context.set_trailing_metadata(_trailers(context, call))

        return handler

    def __repr__(self) -> str:
        """Name the interceptor."""
        return "Errors()"


def _readable(request: Any) -> Any:
    """Return the request; raise what its deserializer could not."""
    if isinstance(request, Malformed):
        raise request.error
    return request


def _trailers(context: Context, call: Call) -> tuple[tuple[str, str | bytes], ...]:
    """Setting replaces, so what others have set is sent again with ours."""
    return (*(context.trailing_metadata() or ()), *call.trailers.items())


async def _end(context: Context, call: Call, error: Exception) -> NoReturn:
    known = error if isinstance(error, ServiceError) else _unexpected(call, error)
    call.error = known
    status = status_of(known)
    trailers = (*_trailers(context, call), *trailers_of(known, status).items())
    await context.abort(CODES[int(known.code)], known.message, trailers)
    raise AssertionError  # abort always raises


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
