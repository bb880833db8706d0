"""The edge between gRPC and everything further in: all that is done at the two ends of an RPC.

One generator does the work of four layers, because a generator costs every message and these need
only the ends: the call is made, counted and logged, and a failure becomes a status. Inside,
everything simply raises; `context.abort` is called nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.errors import InvalidRequest, Overloaded, Violation
from gemini_backend.rpc.handlers import Malformed
from gemini_backend.rpc.interceptors.base import (
    StreamHandler,
    UnaryHandler,
    WrappingInterceptor,
    answer_type,
    opening_of,
    served_by,
)
from gemini_backend.rpc.interceptors.ends import Ends
from gemini_backend.rpc.unread import Unread
from gemini_backend.sizes import KIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.api.requests.reception import Reception
    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.memory import RequestRoom
    from gemini_backend.rpc.call_factory import CallFactory
    from gemini_backend.rpc.guard import RpcGuard
    from gemini_backend.rpc.interceptors.base import Context

MAX_METADATA_BYTES = 16 * KIB
"""The most text that the keys and values of a request's metadata have; gRPC's core reads more, so
that the refusal has a reason."""


class EdgeInterceptor(WrappingInterceptor):
    """Outermost of our own; further in, the call is found by `current_call()`.

    Attributes:
        alone: Whether all interceptors are ours. Others may look at a stream's events, so these are
            messages then; or send initial metadata, so ours are sent before they are asked.
    """

    def __init__(
        self,
        calls: CallFactory,
        reception: Reception,
        clock: Clock,
        room: RequestRoom,
        *,
        max_rpcs: int = 0,
        max_rpcs_per_peer: int = 0,
        guard: RpcGuard | None = None,
    ) -> None:
        """Stand between gRPC and the rest.

        Args:
            calls: Makes the call of each RPC.
            reception: Where their start and end are reported.
            clock: Where times are read.
            room: Where large requests wait until they may be read.
            max_rpcs: How many RPCs may run at once; 0 for no limit.
            max_rpcs_per_peer: How many of them from one address; 0 for no limit.
            guard: Says who calls, and whether they may; None where everybody may.
        """
        super().__init__()
        self.alone = False
        self._calls = calls
        self._reception = reception
        self._clock = clock
        self._room = room
        self._max_rpcs = max_rpcs
        self._max_per_peer = max_rpcs_per_peer
        self._guard = guard

    def unary(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the handler; end the RPC as it ended."""
        return self._answering(method, inner, writes=False)

    def writing(self, method: str, inner: UnaryHandler) -> UnaryHandler:
        """Run the handler as if it answered once: only its two ends matter here."""
        return self._answering(method, inner, writes=True)

    def _answering(self, method: str, inner: UnaryHandler, *, writes: bool) -> UnaryHandler:
        serves, make = served_by(inner), self._calls.make
        reception, clock, guard = self._reception, self._clock, self._guard

        async def handler(request: Any, context: Context) -> Any:
            call = make(method, request, context)
            ends = Ends(call, context, reception, clock)
            try:
                if guard is not None:
                    ends.admitted(guard.known(call, context) or await guard.admit(call, context))
                ends.begin(request)
                accepted = self._accepted(call, request)
                if type(accepted) is Unread:
                    accepted = await ends.read(accepted, self._room)
                ends.announce()
                if writes or not self.alone:
                    await ends.announced()
                if serves is None:
                    answer = await inner(accepted, context)
                else:
                    answer = await serves(ends.call, accepted)
                await ends.announced()
            except BaseException as error:
                await ends.failed(error)
                raise
            ends.succeeded()
            return answer

        return handler

    def stream(self, method: str, inner: StreamHandler) -> StreamHandler:
        """Run the handler; end the RPC as it ended."""
        opens, read = opening_of(inner), answer_type(method).FromString
        make, reception, clock = self._calls.make, self._reception, self._clock
        guard = self._guard

        async def handler(request: Any, context: Context) -> AsyncIterator[Any]:
            call = make(method, request, context)
            ends = Ends(call, context, reception, clock)
            try:
                if guard is not None:
                    ends.admitted(guard.known(call, context) or await guard.admit(call, context))
                ends.begin(request)
                accepted = self._accepted(call, request)
                if type(accepted) is Unread:
                    accepted = await ends.read(accepted, self._room)
                ends.announce()
                if not self.alone:
                    await ends.announced()
                stream = await opens(accepted, context)
                try:
                    await ends.announced()
                    while (event := await stream.next()) is not None:
                        yield event if self.alone or type(event) is not bytes else read(event)
                except BaseException as error:  # noqa: BLE001 - told to all, and raised
                    raise await stream.aclose(error) from error.__cause__
            except BaseException as error:
                await ends.failed(error)
                raise
            ends.succeeded()

        return handler

    def _accepted(self, call: Call, request: Any) -> Any:
        """Return the request.

        Raises:
            ServiceError: it could not be read, or is not taken.
        """
        if type(request) is Malformed:
            raise request.error
        if self._max_rpcs and self._reception.running_now() > self._max_rpcs:
            raise Overloaded(
                f"the server runs {self._max_rpcs} RPCs already, as many as it may "
                "(server.max_concurrent_rpcs); retry later, or on another server"
            )
        if self._max_per_peer and self._reception.running_of_peer(call) > self._max_per_peer:
            raise Overloaded(
                f"your address runs {self._max_per_peer} RPCs already, as many as one may "
                "(server.max_rpcs_per_peer); retry when one of them has ended"
            )
        size = 0
        for key, value in call.metadata.items():
            size += len(key) + len(value)
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
