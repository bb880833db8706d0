"""What is refused at the edge, before any layer sees it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from gemini_backend.rpc.call_factory import CallFactory
from gemini_backend.rpc.interceptors.edge import MAX_METADATA_BYTES, EdgeInterceptor
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
        CallFactory(clock), parts.reception(), clock, parts.base.requests, max_rpcs
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
