"""Whatever an upstream sends, the caller has an answer or a typed failure; memory is bounded."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.support.upstreams.hostile_upstream import serve
from tests.support.upstreams.raw_upstreams import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")
GROWTH_KIB = 150 * 1024
UNREACHABLE, TOO_LARGE = "UPSTREAM_UNREACHABLE", "UPSTREAM_ANSWER_TOO_LARGE"
MALFORMED, CUT = "UPSTREAM_MALFORMED_ANSWER", "UPSTREAM_STREAM_CUT"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ends() -> AsyncIterator[tuple[Process, Any]]:
    """Run a server in front of it; yield the server and a stub."""
    async with (
        listening(serve) as url,
        serving(upstream_at(url, **AS_IT_COMES)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield server, rpc.ExecuteServiceStub(channel)


async def streamed(stub: Any, model: str) -> str:
    """Return the text of a streamed answer."""
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="hi", model=model), timeout=30))
    return "".join(part.text for event in events for part in event.delta.parts)


async def whole(stub: Any, model: str) -> str:
    """Return the text of a whole answer."""
    response = await stub.Process(pb.ProcessRequest(prompt="hi", model=model), timeout=30)
    return "".join(part.text for part in response.candidates[0].content.parts)


@pytest.mark.parametrize("ask", [streamed, whole])
@pytest.mark.parametrize("model", ["ok", "again", "trailers", "hints", "packed"])
async def test_what_is_odd_and_clear_is_read(
    ends: tuple[Process, Any], ask: Any, model: str
) -> None:
    """An answer said twice, extensions, trailers, informational heads, a packed body."""
    for _ in range(3):
        assert "good" == await ask(ends[1], model)


@pytest.mark.parametrize("ask", [streamed, whole])
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("half-head", UNREACHABLE),
        ("no-body", CUT),
        ("endless-head", TOO_LARGE),
        ("endless-header", TOO_LARGE),
        ("endless-hints", TOO_LARGE),
        ("two-lengths", MALFORMED),
        ("length-and-chunks", MALFORMED),
        ("too-short", CUT),
        ("huge-chunk", CUT),
        ("large-trailers", CUT),
        ("gzip-cut", CUT),
        ("gzip-none", CUT),
        ("brotli", MALFORMED),
        ("bomb", TOO_LARGE),
    ],
)
async def test_each_failure_has_its_name(
    ends: tuple[Process, Any], ask: Any, model: str, reason: str
) -> None:
    """And the next call is served."""
    failed = await failure_of(ask(ends[1], model))
    assert reason == failed.reason
    assert "good" == await ask(ends[1], "ok")


async def test_many_at_once_cost_bounded_memory(ends: tuple[Process, Any]) -> None:
    """What has no end is not collected, and what is packed is not unpacked at once."""
    server, stub = ends
    before = server.resident_kib()
    models = ["endless-head", "endless-header", "endless-hints", "large-trailers", "huge-chunk"]
    failed = await asyncio.gather(
        *(failure_of(streamed(stub, model)) for model in models for _ in range(4))
    )
    assert {TOO_LARGE, CUT} == {one.reason for one in failed}
    assert server.resident_kib() - before < GROWTH_KIB
