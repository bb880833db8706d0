"""HealthService."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gemini.backend.v1 import health_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import ERROR_REASON_UPSTREAM_UNAVAILABLE
from gemini_backend.config import ConfigStore, read
from gemini_backend.errors import Draining, UpstreamUnavailable
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.policies.base import opened
from gemini_backend.rpc.chain import Layer, Scope
from gemini_backend.rpc.servicers.health_status import HealthServicer, UpstreamFacts
from gemini_backend.telemetry.events import ExecutionFinished
from tests.support.board import Board, board_of, serving
from tests.support.calls import EXECUTE, make_call

if TYPE_CHECKING:
    from tests.support.clock import FakeClock


@pytest.fixture
def board(clock: FakeClock) -> Board:
    """A serving server that knows model a."""
    return serving(board_of(clock, UpstreamModel("models/a")))


@pytest.fixture
def servicer(board: Board) -> HealthServicer:
    """A servicer over these parts, with two layers."""
    return HealthServicer(
        board.reporter,
        board.lifecycle,
        board.metrics,
        ConfigStore(read(None, {})),
        upstream=UpstreamFacts("gemini", "https://example.test", "v1beta", 2),
        listing=board.listing,
        layers=[Layer("deadline", "Deadline(300)", Scope.RPC), Layer("chaos", None, Scope.RPC)],  # type: ignore[arg-type]
        clock=board.clock,
        wall=board.wall,
    )


def _fail(board: Board, times: int) -> None:
    for _ in range(times):
        call, error = make_call(board.clock), UpstreamUnavailable("down")
        event = ExecutionFinished(call, "models/a", 1.0, None, None, error, cancelled=False)
        board.metrics.execution_finished(event)


async def test_health_says_what_and_why(board: Board, servicer: HealthServicer) -> None:
    """With the upstream failing, health is bad and says why, and the server is still ready."""
    _fail(board, 5)
    status = (await servicer.GetHealthStatus(pb.GetHealthStatusRequest(), None)).status
    assert (status.state, status.live, status.ready) == (pb.HEALTH_STATE_UNHEALTHY, True, True)
    assert "100% of 5 executions" in status.message
    upstream, models = status.components
    assert (upstream.name, upstream.state) == ("upstream", pb.HEALTH_STATE_UNHEALTHY)
    assert (upstream.essential, models.essential) == (True, False)
    (model,) = status.models
    assert (model.model, model.error_ratio, model.executions) == ("models/a", 1.0, 5)
    assert model.last_failure_reason == ERROR_REASON_UPSTREAM_UNAVAILABLE
    assert not model.HasField("last_success_time")


async def test_a_watch_tells_of_changes_only(board: Board, servicer: HealthServicer) -> None:
    """The first message comes at once, the next when something has changed, until the drain."""
    async with opened(servicer.WatchHealthStatus(pb.WatchHealthStatusRequest(), None)) as changes:
        assert (await anext(changes)).status.state == pb.HEALTH_STATE_HEALTHY
        waiting = asyncio.ensure_future(anext(changes))
        await board.clock.advance(3)
        assert not waiting.done()
        _fail(board, 5)
        await board.clock.advance(1)
        assert (await waiting).status.state == pb.HEALTH_STATE_UNHEALTHY
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        board.lifecycle.drain()
        with pytest.raises(Draining):
            await waiting


async def test_status_says_what_runs(board: Board, servicer: HealthServicer) -> None:
    """Version, stage, addresses, upstream, layers and what is in flight arrive."""
    await board.listing.all()
    board.metrics.rpc_started(EXECUTE)
    await board.clock.advance(5)
    status = await servicer.GetBackendStatus(pb.GetBackendStatusRequest(), None)
    assert (status.api_version, status.state) == ("gemini.backend.v1", pb.SERVING_STATE_SERVING)
    assert (status.grpc_address, status.web_address) == ("127.0.0.1:1", "127.0.0.1:2")
    assert (status.uptime.seconds, status.config_revision) == (5, 1)
    assert all((status.version, status.instance, status.python_version, status.grpc_version))
    assert status.upstream == pb.UpstreamStatus(
        provider="gemini",
        base_url="https://example.test",
        api_version="v1beta",
        key_count=2,
        model_count=1,
    )
    assert [(layer.name, layer.enabled) for layer in status.layers] == [
        ("deadline", True),
        ("chaos", False),
    ]
    assert (status.rpcs_in_flight, status.open_streams) == (1, 1)
