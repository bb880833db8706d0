"""The edge between gRPC and everything further in: all that is done at the two ends of an RPC.

One generator stands for four layers, because a generator costs every message and these need only
the ends: the call is made, counted and told in the log, and a failure becomes a status. Inside,
everything simply raises; `context.abort` is called nowhere else.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import grpc

from gemini_backend.call import CURRENT, Call, reason_of_cancel
from gemini_backend.errors import ServiceError
from gemini_backend.policies.base import Ready, opened
from gemini_backend.rpc.abort import CODES, end_with
from gemini_backend.rpc.handlers import Malformed
from gemini_backend.rpc.interceptors.base import (
    StreamHandler,
    UnaryHandler,
    WrappingInterceptor,
    run_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.api.in_flight import Running
    from gemini_backend.clock import Clock
    from gemini_backend.rpc.call_factory import CallMaker
    from gemini_backend.rpc.interceptors.base import Context
    from gemini_backend.telemetry.logs.access_log import AccessLog


class RpcMetrics(Protocol):
    """Where calls are counted."""

    def rpc_started(self, method: str) -> None:
        """One more in flight."""
        ...

    def rpc_finished(self, method: str, code: str, reason: str, seconds: float) -> None:
        """One less in flight, and how it ended."""
        ...


class EdgeInterceptor(WrappingInterceptor):
    """Outermost of our own; further in, the call is found by `current_call()`."""

    def __init__(
        self,
        calls: CallMaker,
        running: Running,
        metrics: RpcMetrics,
        access_log: AccessLog,
        clock: Clock,
    ) -> None:
        """Make calls by `calls`; tell `running`, `metrics` and `access_log` of start and end."""
        super().__init__()
        self._running = running
        self._calls = calls
        self._metrics = metrics
        self._access_log = access_log
        self._clock = clock

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the handler; end the RPC as it ended."""

        async def handler(request: Any, context: Context) -> Any:
            call = self._begin(method, request, context)
            ended: BaseException | None = None
            try:
                response = await inner(_readable(request), context)
                _send_trailers(context, call)
            except grpc.aio.AbortError as error:
                ended = error
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence, by design
                ended = error
                await end_with(context, call, error)
            except asyncio.CancelledError as error:
                ended = reason_of_cancel(call) or error
                if isinstance(ended, ServiceError):
                    await end_with(context, call, ended)
                raise
            except BaseException as error:
                ended = error
                raise
            finally:
                self._end(call, context, ended)
            return response

        return handler

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Run the handler; end the RPC as it ended."""
        run = run_of(inner)

        async def handler(request: Any, context: Context) -> AsyncIterator[Any]:
            call = self._begin(method, request, context)
            ended: BaseException | None = None
            try:
                answer = run(_readable(request), context)
                if type(answer) is Ready:
                    for event in answer.events:
                        yield event
                else:
                    async with opened(answer) as events:
                        async for event in events:
                            yield event
                _send_trailers(context, call)
            except grpc.aio.AbortError as error:
                ended = error
                raise
            except Exception as error:  # noqa: BLE001 - the last line of defence, by design
                ended = error
                await end_with(context, call, error)
            except asyncio.CancelledError as error:
                ended = reason_of_cancel(call) or error
                if isinstance(ended, ServiceError):
                    await end_with(context, call, ended)
                raise
            except BaseException as error:
                ended = error
                raise
            finally:
                self._end(call, context, ended)

        return handler

    def writing(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the handler as if it answered once: only its two ends matter here."""
        return self.unary(method, inner)

    def _begin(self, method: str, request: Any, context: Context) -> Call:
        call = self._calls.make(method, request, context)
        CURRENT.set(call)
        self._running.enter(call)
        self._metrics.rpc_started(method)
        return call

    def _end(self, call: Call, context: Context, ended: BaseException | None) -> None:
        self._running.leave(call)
        now = self._clock.now()
        code, reason = _outcome(call, context, ended, now)
        self._metrics.rpc_finished(call.method, code, reason, now - call.arrived)
        self._access_log.write(call, code, reason)

    def __repr__(self) -> str:
        """Name the interceptor."""
        return "Edge()"


def _readable(request: Any) -> Any:
    """Return the request; raise what its deserializer could not."""
    if isinstance(request, Malformed):
        raise request.error
    return request


def _send_trailers(context: Context, call: Call) -> None:
    """Setting replaces, so what others have set is sent again with ours."""
    if call.outcome.trailers:
        before = context.trailing_metadata() or ()
        context.set_trailing_metadata((*before, *call.outcome.trailers.items()))


def _outcome(
    call: Call, context: Context, ended: BaseException | None, now: float
) -> tuple[str, str]:
    """Return the code that the caller sees, and the reason where there is one."""
    if call.outcome.error is not None:
        return call.outcome.error.code.name, call.outcome.error.reason
    if ended is None:
        return "OK", ""
    if isinstance(ended, (asyncio.CancelledError, GeneratorExit)):
        late = call.deadline is not None and now >= call.deadline
        return ("DEADLINE_EXCEEDED" if late else "CANCELLED"), "CALLER_CANCELLED"
    code: Any = context.code()  # somebody else's interceptor ended it; a number, or gRPC's enum
    return (code if isinstance(code, grpc.StatusCode) else CODES[int(code or 0)]).name, ""
