"""The edge between gRPC and everything further in: all that is done at the two ends of an RPC.

One generator does the work of four layers, because a generator costs every message and these need
only the ends: the call is made, counted and logged, and a failure becomes a status. Inside,
everything simply raises; `context.abort` is called nowhere else.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import grpc
from msgspec.structs import replace

from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.call import CURRENT, Call, reason_of_cancel
from gemini_backend.errors import InvalidRequest, Overloaded, ServiceError, Violation
from gemini_backend.rpc.abort import CODES, end_with
from gemini_backend.rpc.handlers import Malformed
from gemini_backend.rpc.interceptors.base import (
    StreamHandler,
    UnaryHandler,
    WrappingInterceptor,
    opening_of,
)
from gemini_backend.rpc.unread import Unread
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import TracebackType

    from google.protobuf.message import Message

    from gemini_backend.api.requests.reception import Reception
    from gemini_backend.clock import Clock
    from gemini_backend.memory import RequestHold, RequestRoom
    from gemini_backend.rpc.call_factory import CallFactory
    from gemini_backend.rpc.interceptors.base import Context

MAX_METADATA_BYTES = 16 * KIB
"""The most text that the keys and values of a request's metadata have; gRPC's core reads more, so
that the refusal has a reason."""


# Initial metadata: the name of the execution, `executions/{execution}`.
EXECUTION_KEY = "gemini-backend-execution"


class EdgeInterceptor(WrappingInterceptor):
    """Outermost of our own; further in, the call is found by `current_call()`."""

    def __init__(
        self,
        calls: CallFactory,
        reception: Reception,
        clock: Clock,
        room: RequestRoom,
        max_rpcs: int = 0,
    ) -> None:
        """Stand between gRPC and the rest.

        Args:
            calls: Makes the call of each RPC.
            reception: Where their start and end are reported.
            clock: Where times are read.
            room: Where large requests wait until they may be read.
            max_rpcs: How many RPCs may run at once; 0 for no limit.
        """
        super().__init__()
        self._calls = calls
        self._reception = reception
        self._clock = clock
        self._room = room
        self._max_rpcs = max_rpcs

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the handler; end the RPC as it ended."""

        async def handler(request: Any, context: Context) -> Any:
            async with self._ends(method, request, context) as ends:
                accepted = self._accepted(ends.call, request)
                if type(accepted) is Unread:
                    accepted = await ends.read(accepted, self._room)
                await ends.announce()
                return await inner(accepted, context)

        return handler

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Run the handler; end the RPC as it ended."""
        opens = opening_of(inner)

        async def handler(request: Any, context: Context) -> AsyncIterator[Any]:
            async with self._ends(method, request, context) as ends:
                accepted = self._accepted(ends.call, request)
                if type(accepted) is Unread:
                    accepted = await ends.read(accepted, self._room)
                await ends.announce()
                stream = await opens(accepted, context)
                try:
                    while (event := await stream.next()) is not None:
                        yield event
                except BaseException as error:  # noqa: BLE001 - told to all, and raised
                    raise await stream.aclose(error) from error.__cause__

        return handler

    def writing(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the handler as if it answered once: only its two ends matter here."""
        return self.unary(method, inner)

    def _ends(self, method: str, request: Any, context: Context) -> _Ends:
        call = self._calls.make(method, request, context)
        return _Ends(call, request, context, self._reception, self._clock)

    def _accepted(self, call: Call, request: Any) -> Any:
        """Return the request.

        Raises:
            ServiceError: it could not be read, or is not taken.
        """
        if isinstance(request, Malformed):
            raise request.error
        if self._max_rpcs and self._reception.running_now() > self._max_rpcs:
            raise Overloaded(
                f"the server runs {self._max_rpcs} RPCs already, as many as it may "
                "(server.max_concurrent_rpcs); retry later, or on another server"
            )
        size = sum(map(len, call.metadata)) + sum(map(len, call.metadata.values()))
        if size > MAX_METADATA_BYTES:
            words = (
                f"has {size} bytes and the limit is {MAX_METADATA_BYTES}; send large values as "
                "fields of the request"
            )
            raise InvalidRequest(
                f"metadata: {words}", violations=[Violation("metadata", words, "metadata.size")]
            )
        return request

    def __repr__(self) -> str:
        """Name the interceptor."""
        return "Edge()"


class _Ends:
    """The two ends of one RPC, as a scope; it may span the yields of a stream."""

    __slots__ = ("_clock", "_context", "_hold", "_name", "_reception", "_request", "call")

    def __init__(
        self, call: Call, request: Any, context: Context, reception: Reception, clock: Clock
    ) -> None:
        self.call = call
        self._request = request
        self._name = ""
        self._hold: RequestHold | None = None
        self._context = context
        self._reception = reception
        self._clock = clock

    async def __aenter__(self) -> Self:
        CURRENT.set(self.call)
        self._reception.arrived(self.call)
        if type(self._request) is not Unread:
            self._name = self._reception.begin(self.call, self._request)
        return self

    async def read(self, request: Unread, room: RequestRoom) -> Message:
        """Read a large request, which the call then knows by its id and its size.

        Raises:
            ServiceError: it cannot be read, has too many parts, found no room, or the call's
                deadline passed.
        """
        message, size, self._hold = await request.read(self.call, self._clock, room)
        request_id = getattr(message, "request_id", "")
        if request_id or size != self.call.large:
            self.call = replace(self.call, request_id=request_id, large=size)
            CURRENT.set(self.call)
        self._name = self._reception.begin(self.call, message)
        return message

    async def announce(self) -> None:
        """Tell the caller the name of its execution, before anything waits."""
        if self._name:
            # where the caller is gone, its call is cancelled in a moment; where an operator's own
            # layer has sent initial metadata, there is no room for ours
            with suppress(grpc.aio.BaseError):
                await self._context.send_initial_metadata(((EXECUTION_KEY, self._name),))

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        call, ended = self.call, error
        try:
            if error is None:
                _send_trailers(self._context, call)
            elif isinstance(error, asyncio.CancelledError):
                ended = reason_of_cancel(call) or error
                if isinstance(ended, ServiceError):
                    await self._fail(ended)
            elif isinstance(error, GeneratorExit) and call.outcome.cut_short is not None:
                # cancelled in a blocked write: grpc.aio drops the handler and ends nothing
                with suppress(grpc.aio.AbortError):
                    await self._fail(call.outcome.cut_short)
            elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
                await self._fail(error)
        finally:
            if self._hold is not None:
                self._hold.release()
            self._reception.end(call, *_outcome(call, self._context, ended, self._clock.now()))

    async def _fail(self, error: Exception) -> None:
        """End the RPC; what became of the execution can be read before its caller is told."""
        known = service_error_of(self.call, error)
        self._reception.failing(self.call, known)
        await end_with(self._context, self.call, known)


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
