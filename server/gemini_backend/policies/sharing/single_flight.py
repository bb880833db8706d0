"""Identical calls share one run of the rest: it is paid for once, however many wait for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import DeadlinePassed
from gemini_backend.policies.cache import is_deterministic, sliced_run_key
from gemini_backend.policies.sharing.detached_run import DetachedRun
from gemini_backend.policies.sharing.replay_buffer import ReplayBuffer
from gemini_backend.policies.sharing.subscribers import SharedBudget, Subscribers
from gemini_backend.sizes import MIB
from gemini_backend.telemetry.events import SILENT, ExecutionCoalesced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.config.sections.answers import CoalesceOptions
    from gemini_backend.policies.base import Stream, Unary
    from gemini_backend.policies.sharing.replay_buffer import Reader
    from gemini_backend.telemetry.events import Publisher

_COALESCED = pb.CACHE_STATUS_COALESCED

_UNARY, _STREAM = b"unary", b"stream"


class SingleFlight:
    """Lets calls of one tenant that ask for the same, in the same manner, follow one flight.

    Late ones are given what is there, then follow. One that leaves does not stop the others; the
    last one to leave does. The flight's deadline is the latest of its callers'; each caller's own
    is kept besides. One caller pays, as a rule the first: `outcome.pays` is false for the others.
    """

    def __init__(
        self, options: Callable[[], CoalesceOptions], clock: Clock, bus: Publisher = SILENT
    ) -> None:
        """Read the options anew for each call; publish which executions share a run."""
        self._options = options
        self._clock = clock
        self._bus = bus
        self._joinable: dict[bytes, Subscribers] = {}
        self._all: set[Subscribers] = set()

    async def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Any:
        """Answer by the run of the first of identical calls.

        Raises:
            DeadlinePassed: this call's own deadline passed first.
            ServiceError: the run failed; each call has an error of its own.
        """
        if not self.shares(request):
            return await proceed(call, request)

        async def once(shared: Call, asked: Any) -> AsyncIterator[Any]:
            yield await proceed(shared, asked)

        key = _UNARY + await sliced_run_key(call, request, self._clock)
        while True:
            try:
                return await self._share(key, call, request, once)
            except DeadlinePassed:
                # a whole answer is made by the deadline of whoever came first: go on without them
                if call.remaining(self._clock.now()) == 0:
                    raise

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Hand on the events of the run of the first of identical calls.

        Raises:
            DeadlinePassed: this call's own deadline passed first.
            Overloaded: this caller read so much more slowly than others that events had to go.
            ServiceError: the run failed; each call has an error of its own.
        """
        if not self.shares(request):
            return proceed(call, request)
        return self._follow(call, request, proceed)

    @property
    def running(self) -> int:
        """How many flights are in the air."""
        return len(self._all)

    async def aclose(self) -> None:
        """Cancel every flight and wait for it."""
        await asyncio.gather(*(shared.run.cancel() for shared in tuple(self._all)))

    async def _share(self, key: bytes, call: Call, request: Any, once: Stream[Any, Any]) -> Any:
        shared, joined = self._board(key, call, request, once)
        reader = shared.enter(call, self._clock)
        if joined:
            self._joined(call, shared)
        try:
            answer = await reader.read()
            shared.tell_end(call)
            if joined:
                answer.started.cache_status = _COALESCED
            return answer
        finally:
            await self._leave(shared, call, reader)

    async def _follow(
        self, call: Call, request: Any, proceed: Stream[Any, Any]
    ) -> AsyncIterator[Any]:
        key = _STREAM + await sliced_run_key(call, request, self._clock)
        taken = False
        while not taken:
            shared, joined = self._board(key, call, request, proceed)
            reader = shared.enter(call, self._clock)
            try:
                # it may go down with the one who reads it on; then there is another one to board
                taken = not joined or await shared.run.taken_on(reader)
                if taken:
                    if joined:
                        self._joined(call, shared)
                    async for event in shared.events(reader):
                        if joined:
                            joined = False
                            event.started.cache_status = _COALESCED
                        if event.HasField("completed"):
                            shared.tell_end(call)
                        yield event
            finally:
                await self._leave(shared, call, reader)

    def _joined(self, call: Call, shared: Subscribers) -> None:
        self._bus.publish(ExecutionCoalesced(call.execution, shared.run.call.execution))

    def shares(self, request: Any) -> bool:
        """Say whether a request may share an answer under way."""
        mode = self._options().mode
        if mode == "off" or request.cache_control.mode == pb.CACHE_MODE_BYPASS:
            return False
        return mode == "all" or is_deterministic(request)

    def _board(
        self, key: bytes, call: Call, request: Any, proceed: Stream[Any, Any]
    ) -> tuple[Subscribers, bool]:
        """Return the flight for a call, and whether it was in the air already."""
        shared = self._joinable.get(key)
        if shared is not None:
            return shared, True

        def close_doors() -> None:
            if self._joinable.get(key) is shared:
                del self._joinable[key]

        def ended(_error: BaseException | None) -> None:
            close_doors()
            self._all.discard(shared)

        buffer = ReplayBuffer(self._options().buffer_mb * MIB, paced=True, on_cut=close_doors)
        budget = SharedBudget(call.deadline)
        own = call.derive(budget=budget)  # no caller's, so that none ends it
        lands = buffer.alone if key.startswith(_STREAM) else None
        shared = Subscribers(
            DetachedRun(own, buffer, ended=ended, lands=lands), budget, close_doors
        )
        self._joinable[key] = shared
        self._all.add(shared)
        shared.run.start(lambda: proceed(own, request))
        return shared, False

    async def _leave(self, shared: Subscribers, call: Call, reader: Reader) -> None:
        shared.leave(call, reader)
        if not shared.calls:
            shared.close_doors()
            await shared.run.cancel()

    def __repr__(self) -> str:
        """Name the policy and its options."""
        return f"SingleFlight(mode={self._options().mode})"
