"""The stream of a long answer: the events of its first hop, then those of the further ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.errors import ServiceError
from gemini_backend.policies.event_stream import EventStream, Watch
from gemini_backend.policies.long_answers.first_hop import FirstHop
from gemini_backend.policies.long_answers.hop_events import HopEvents

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gemini.backend.v1 import execute_service_pb2 as pb
    from gemini_backend.call import Call
    from gemini_backend.policies.long_answers.continuation import Continuation
    from gemini_backend.policies.long_answers.hop_chain import HopChain
    from gemini_backend.policies.wrapper import Opens


class HopStream(Watch):
    """Watches a first hop, and has the answer go on where that turns out not to be the only one.

    For nearly all events one look is all that there is to do.
    """

    __slots__ = ("_call", "_chain", "_first", "_hops", "_last", "_owner", "_proceed", "_request")

    def __init__(
        self,
        owner: Continuation,
        call: Call,
        request: Any,
        chain: HopChain | None,
        proceed: Opens,
    ) -> None:
        """Stand before the first hop; `chain` is there where it is not asked for as it came."""
        self._owner = owner
        self._call = call
        self._request = request
        self._chain = chain
        self._proceed = proceed
        self._first = FirstHop(request)
        self._hops: HopEvents | None = None
        self._last = False  # the last events of the answer are on their way

    def event(self, event: Any, delta: pb.Delta | None, /) -> list[Any] | None:
        """Look for the end of the first hop; from there on take what is the answer's.

        Raises:
            ServiceError: the answer is at its end, and no hop said anything.
        """
        hops = self._hops
        if hops is None:
            first = self._first
            if delta is None:
                if first.started is None and event.HasField("started"):
                    first.started = event.started
                return None
            if not (first.looks or delta.finish_reason) or not first.ends_with(delta):
                return None
            self._chain = self._chain or self._owner.chain(self._call, self._request)
            hops = self._hops = HopEvents(self._chain, first)
        if self._last or hops.take(event) is not None:
            return None
        return []

    def rest(self) -> EventStream | Awaitable[EventStream] | None:
        """Ask for the next hop, or give the last events of the answer.

        Raises:
            StreamCut: the answer can be continued no more.
        """
        hops = self._hops
        if hops is None or self._last:
            return None
        if hops.goes_on():
            self._owner.followed += 1
            return self._proceed(hops.call, hops.request)
        self._last = True
        self._owner.ended(self._call, hops.ending, hops.token)
        return EventStream(list(hops.last()))

    def end(self, error: BaseException | None, /) -> None:
        """Write into a failure where the answer can be taken up."""
        if isinstance(error, ServiceError):
            self._owner.failed(self._call, self._request, self._chain, error, self._hops)
