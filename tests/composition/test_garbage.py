"""What a call has made goes when it ends, and does not wait for the garbage collector."""

from __future__ import annotations

import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.composition.assembly import assembled
from gemini_backend.rpc.call_factory import CallFactory
from gemini_backend.rpc.interceptors.edge import EdgeInterceptor
from gemini_backend.rpc.mounting import interceptors
from tests.support.clock import settle
from tests.support.composed import made_parts
from tests.support.layers.inproc import FakeContext, bind, collect, stream_handler, unary_handler
from tests.support.messages.calls import EXECUTE, PROCESS, completed, delta, script, started

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.clock import FakeClock

CALLS = 200


def left_behind() -> list[str]:
    """Collect; return the types of what only this has freed, where there is one for each call."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()  # what was kept to be looked at
    return sorted(kind for kind, count in kinds.items() if count >= CALLS)


class Served:
    """The default chain round a handler."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._parts = made_parts(clock)
        calls, parts = CallFactory(clock), self._parts
        edge = EdgeInterceptor(calls, parts.reception(), clock, parts.base.requests)
        self._assembly = assembled(parts, edge=edge)
        self._mounted = interceptors(self._assembly.chain)

    async def stream(self) -> Callable[[str], Awaitable[object]]:
        """Return what streams an answer to a prompt."""
        handler = script(self._clock, started(), delta("a"), delta("b"), completed())

        async def innermost(request: Any, _context: Any) -> Any:
            async for event in handler(None, request):
                yield event

        bound = await bind(self._mounted, stream_handler(innermost), EXECUTE)
        return lambda prompt: collect(
            bound.unary_stream(pb.ExecuteRequest(prompt=prompt), FakeContext())
        )

    async def whole(self) -> Callable[[str], Awaitable[object]]:
        """Return what answers a prompt at once."""

        async def answer(_request: Any, _context: Any) -> Any:
            return pb.ProcessResponse()

        bound = await bind(self._mounted, unary_handler(answer), PROCESS)
        return lambda prompt: bound.unary_unary(pb.ExecuteRequest(prompt=prompt), FakeContext())

    async def aclose(self) -> None:
        await self._parts.aclose()


@pytest.mark.parametrize("kind", ["whole", "stream"])
async def test_a_call_leaves_nothing_to_the_collector(kind: str, clock: FakeClock) -> None:
    """Its objects refer to each other in no circle: answers would be kept until one is found."""
    served = Served(clock)
    call = await getattr(served, kind)()
    await call("the first")
    await settle()
    left_behind()
    for number in range(CALLS):
        await call(f"number {number}")
    await settle()
    assert [] == left_behind()
    await clock.advance(3600)  # this clock keeps alarms until their time, cancelled or not
    await served.aclose()
