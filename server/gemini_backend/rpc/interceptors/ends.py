"""The two ends of an RPC: what is told of it, and to its caller, when it begins and ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
from msgspec.structs import replace

from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.call import CURRENT, Call, reason_of_cancel
from gemini_backend.errors import ServiceError
from gemini_backend.rpc.abort import CODES, end_with
from gemini_backend.rpc.guard import CREDENTIALS
from gemini_backend.rpc.interceptors.begun import Begun
from gemini_backend.rpc.unread import Unread

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from gemini_backend.api.requests.reception import Reception
    from gemini_backend.clock import Clock
    from gemini_backend.memory import RequestHold, RequestRoom
    from gemini_backend.principal import Principal
    from gemini_backend.rpc.interceptors.base import Context

# Initial metadata: the name of the execution, `executions/{execution}`.
EXECUTION_KEY = "gemini-backend-execution"


class Ends:
    """The two ends of one RPC: it begins when this is made, and ends by one of the two methods."""

    __slots__ = ("_announcement", "_clock", "_context", "_hold", "_name", "_reception", "call")

    def __init__(self, call: Call, context: Context, reception: Reception, clock: Clock) -> None:
        """Begin: the call is known by its task, and reported to `reception`."""
        self.call = call
        self._announcement: Begun | None = None
        self._hold: RequestHold | None = None
        self._context = context
        self._reception = reception
        self._clock = clock
        CURRENT.set(call)
        reception.arrived(call)
        self._name = ""

    def admitted(self, principal: Principal) -> None:
        """Know who calls; what it presented goes no further in."""
        self.call = call = self.call.asked_by(principal, CREDENTIALS)
        CURRENT.set(call)
        self._reception.admitted(call)

    def begin(self, request: Any) -> None:
        """Take note of what is asked for; a large request is read first."""
        if type(request) is not Unread:
            self._name = self._reception.begin(self.call, request)

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

    def announce(self) -> None:
        """Begin to tell the caller the name of its execution, before anything waits.

        Until `announced` has returned, nothing else can be sent.
        """
        if self._name:
            # where the caller is gone, its call is cancelled in a moment; where an operator's own
            # layer has sent initial metadata, there is no room for ours
            sending = self._context.send_initial_metadata(((EXECUTION_KEY, self._name),))
            try:  # noqa: SIM105 - costs nothing, unlike an object; this is done for each call
                self._announcement = Begun(sending)
            except grpc.aio.BaseError:
                pass

    async def announced(self) -> None:
        """Wait until the name has been sent."""
        announcement, self._announcement = self._announcement, None
        if announcement is not None:
            try:  # noqa: SIM105 - as above
                await announcement
            except grpc.aio.BaseError:
                pass

    def succeeded(self) -> None:
        """End an RPC whose handler has come to its end."""
        call = self.call
        if not call.outcome.trailers and call.outcome.error is None and self._hold is None:
            self._reception.end(call, "OK", "")
            return
        try:
            if call.outcome.trailers:
                _send_trailers(self._context, call)
        finally:
            self._end(None)

    async def failed(self, error: BaseException) -> None:
        """End an RPC by what its handler has raised, which is to be raised again.

        Raises:
            grpc.aio.AbortError: in its place, where the caller is told.
        """
        call, ended = self.call, error
        try:
            if isinstance(error, asyncio.CancelledError):
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
            if self._announcement is not None:
                self._announcement.drop()
            self._end(ended)

    def _end(self, ended: BaseException | None) -> None:
        if self._hold is not None:
            self._hold.release()
        call, code, reason = self.call, "OK", ""
        if ended is not None or call.outcome.error is not None:
            code, reason = _outcome(call, self._context, ended, self._clock.now())
        self._reception.end(call, code, reason)

    async def _fail(self, error: Exception) -> None:
        """End the RPC; what became of the execution can be read before its caller is told."""
        known = service_error_of(self.call, error)
        self._reception.failing(self.call, known)
        await self.announced()
        await end_with(self._context, self.call, known)


def _send_trailers(context: Context, call: Call) -> None:
    """Setting replaces, so what others have set is sent again with ours."""
    before = context.trailing_metadata() or ()
    context.set_trailing_metadata((*before, *call.outcome.trailers.items()))


def _outcome(
    call: Call, context: Context, ended: BaseException | None, now: float
) -> tuple[str, str]:
    """Return the code that the caller of a failed call sees, and the reason where there is one."""
    if call.outcome.error is not None:
        return call.outcome.error.code.name, call.outcome.error.reason
    if isinstance(ended, (asyncio.CancelledError, GeneratorExit)):
        late = call.deadline is not None and now >= call.deadline
        return ("DEADLINE_EXCEEDED" if late else "CANCELLED"), "CALLER_CANCELLED"
    code: Any = context.code()  # somebody else's interceptor ended it; a number, or gRPC's enum
    return (code if isinstance(code, grpc.StatusCode) else CODES[int(code or 0)]).name, ""
