"""What is refused at the edge, and what is said at the two ends of an RPC.

Covers: rpc/interceptors/ends.py
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.errors import InvalidRequest
from gemini_backend.rpc.call_factory import CallFactory
from gemini_backend.rpc.interceptors.edge import MAX_METADATA_BYTES, EdgeInterceptor
from gemini_backend.rpc.interceptors.ends import EXECUTION_KEY
from tests.support.clock import settle
from tests.support.composed import made_parts
from tests.support.layers.inproc import FakeContext, collect
from tests.support.messages.calls import EXECUTE, PROCESS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.composition.parts import Parts
    from tests.support.clock import FakeClock


@pytest.fixture
async def parts(clock: FakeClock) -> AsyncIterator[Parts]:
    """Return what a door is made of."""
    made = made_parts(clock)
    yield made
    await made.aclose()


def edge_of(parts: Parts, clock: FakeClock, max_rpcs: int = 0) -> EdgeInterceptor:
    """Return an edge."""
    return EdgeInterceptor(
        CallFactory(clock), parts.reception(), clock, parts.base.requests, max_rpcs=max_rpcs
    )


def reason_of(context: FakeContext) -> str:
    """Return the reason that a call ended with."""
    status = Status.FromString(dict(context.trailers)["grpc-status-details-bin"])
    return ErrorInfo.FromString(status.details[0].value).reason


async def echo(request: Any, _context: Any) -> Any:
    """Answer with the request."""
    return request


async def test_more_rpcs_than_allowed_are_refused_with_a_reason(
    parts: Parts, clock: FakeClock
) -> None:
    """The limit itself may run; when one ends, the next is let in."""
    edge, begun, over = edge_of(parts, clock, 2), asyncio.Queue[int](), asyncio.Event()

    async def wait(request: Any, _context: Any) -> Any:
        begun.put_nowait(request)
        await over.wait()
        return request

    running = [asyncio.ensure_future(edge.unary(PROCESS, wait)(n, FakeContext())) for n in (1, 2)]
    assert {1, 2} == {await begun.get(), await begun.get()}
    context = FakeContext()
    with pytest.raises(grpc.aio.AbortError):
        await edge.unary(PROCESS, echo)(3, context)
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "POLICY_OVERLOADED") == (
        context.ended_with,
        reason_of(context),
    )
    assert "server.max_concurrent_rpcs" in context.said
    over.set()
    assert [1, 2] == await asyncio.gather(*running)
    assert 3 == await edge.unary(PROCESS, echo)(3, FakeContext())


@pytest.mark.parametrize(("more", "refused"), [(0, False), (1, True)])
async def test_metadata_that_is_too_large_is_refused_with_its_size(
    parts: Parts, clock: FakeClock, more: int, refused: bool
) -> None:
    """Keys and values count; exactly the limit passes."""
    edge = edge_of(parts, clock)
    context = FakeContext(metadata=(("x-key", "v" * (MAX_METADATA_BYTES - 5 + more)),))

    async def events(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield request

    answer = collect(edge.stream(EXECUTE, events)("request", context))
    if not refused:
        assert ["request"] == await answer
        return
    with pytest.raises(grpc.aio.AbortError):
        await answer
    assert "CALLER_INVALID_REQUEST" == reason_of(context)
    assert f"{MAX_METADATA_BYTES + 1} bytes" in context.said


class SlowContext(FakeContext):
    """A context whose initial metadata are under way until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = asyncio.get_running_loop().create_future()

    async def send_initial_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        self.initial = metadata
        await self.sent


async def asked(edge: EdgeInterceptor, notes: list[str], context: SlowContext) -> Any:
    """Answer a call of Process; note when the handler runs."""

    async def noting(request: Any, _context: Any) -> Any:
        notes.append("asked")
        return request

    return await edge.unary(PROCESS, noting)(pb.ExecuteRequest(prompt="x"), context)


@pytest.mark.parametrize(("alone", "before"), [(True, ["asked"]), (False, [])])
async def test_the_name_is_on_its_way_before_the_handler_runs(
    parts: Parts, clock: FakeClock, alone: bool, before: list[str]
) -> None:
    """The handler waits for it only beside other people's interceptors; the answer always does."""
    edge, notes, context = edge_of(parts, clock), list[str](), SlowContext()
    edge.alone = alone
    call = asyncio.ensure_future(asked(edge, notes, context))
    await settle()
    assert ([EXECUTION_KEY], before) == ([key for key, _ in context.initial], notes)
    assert not call.done()
    context.sent.set_result(None)
    assert "x" == (await call).prompt


async def test_a_failure_is_told_after_the_name(parts: Parts, clock: FakeClock) -> None:
    """The status waits until the initial metadata are sent: they cannot go twice."""
    edge, context = edge_of(parts, clock), SlowContext()
    edge.alone = True

    async def failing(_request: Any, _context: Any) -> Any:
        raise InvalidRequest("no")

    asking = edge.unary(PROCESS, failing)(pb.ExecuteRequest(prompt="x"), context)
    call = asyncio.ensure_future(asking)
    await settle()
    assert context.ended_with is None
    context.sent.set_result(None)
    with pytest.raises(grpc.aio.AbortError):
        await call
    assert grpc.StatusCode.INVALID_ARGUMENT == context.ended_with


async def test_the_name_is_not_waited_for_where_the_caller_has_left(
    parts: Parts, clock: FakeClock
) -> None:
    """What becomes of the initial metadata of a cancelled call is nobody's any more."""
    edge, context = edge_of(parts, clock), SlowContext()
    edge.alone = True

    async def endless(_request: Any, _context: Any) -> Any:
        await asyncio.Event().wait()

    asking = edge.unary(PROCESS, endless)(pb.ExecuteRequest(prompt="x"), context)
    call = asyncio.ensure_future(asking)
    await settle()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert context.sent.cancelled()


@pytest.mark.parametrize("alone", [True, False])
async def test_others_see_messages_where_events_are_bytes(
    parts: Parts, clock: FakeClock, alone: bool
) -> None:
    """Bytes go on as they are where all interceptors are ours, and are read where not."""
    event = pb.ExecuteResponse(sequence=1)
    edge = edge_of(parts, clock)
    edge.alone = alone

    async def events(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield event.SerializeToString()
        yield event

    found = await collect(edge.stream(EXECUTE, events)(pb.ExecuteRequest(), FakeContext()))
    assert [event.SerializeToString() if alone else event, event] == found
