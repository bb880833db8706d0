"""HealthService.

Covers: api/messages/health.py
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import health_service_pb2 as pb
from gemini.backend.v1.error_details_pb2 import (
    ERROR_REASON_UPSTREAM_THROTTLED,
    ERROR_REASON_UPSTREAM_UNAVAILABLE,
)
from gemini_backend.api.health import HealthService
from gemini_backend.config import ConfigStore, read
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import Draining, UpstreamUnavailable
from gemini_backend.models.listing import UpstreamModel
from gemini_backend.policies.base import opened
from gemini_backend.policies.chain import Chain, Scope, hook
from gemini_backend.telemetry.component_status import (
    AdmissionState,
    CircuitState,
    CircuitStatus,
    KeyState,
    KeyStatus,
    QuotaKind,
    QuotaStatus,
)
from gemini_backend.upstream.base import UpstreamFacts
from tests.support.layers.service_parts import Board, board_of, serving
from tests.support.messages.calls import CALL, EXECUTE
from tests.support.messages.events import arrived, ended

if TYPE_CHECKING:
    from google.protobuf.timestamp_pb2 import Timestamp

    from tests.support.clock import FakeClock


@pytest.fixture
def board(clock: FakeClock) -> Board:
    """A serving server that knows model a."""
    return serving(board_of(clock, UpstreamModel("models/a")))


@pytest.fixture
def servicer(board: Board) -> HealthService:
    """A servicer over these parts, with two layers."""
    return HealthService(
        board.reporter,
        board.lifecycle,
        board.metrics,
        ConfigStore(read(None, {})),
        upstream=UpstreamFacts("gemini", "https://example.test", "v1beta"),
        key_count=lambda: 2,
        listing=board.listing,
        chain=Chain([hook("deadline", Scope.RPC, "Deadline(300)"), hook("chaos", Scope.RPC, None)]),
        clock=board.clock,
    )


def _fail(board: Board, times: int) -> None:
    for _ in range(times):
        board.bus.publish(ended(error=UpstreamUnavailable("down")))


async def test_health_says_what_and_why(board: Board, servicer: HealthService) -> None:
    """With the upstream failing, health is bad and says why, and the server is still ready."""
    _fail(board, 5)
    status = (await servicer.GetHealthStatus(CALL, pb.GetHealthStatusRequest())).status
    assert (status.state, status.live, status.ready) == (pb.HEALTH_STATE_UNHEALTHY, True, True)
    assert "100% of 5 executions" in status.message
    upstream, models = status.components
    assert (upstream.name, upstream.state) == ("upstream", pb.HEALTH_STATE_UNHEALTHY)
    assert (upstream.essential, models.essential) == (True, False)
    (model,) = status.models
    assert (model.model, model.error_ratio, model.executions) == ("models/a", 1.0, 5)
    assert model.last_failure_reason == ERROR_REASON_UPSTREAM_UNAVAILABLE
    assert not model.HasField("last_success_time")


async def test_a_watch_tells_of_changes_only(board: Board, servicer: HealthService) -> None:
    """The first message comes at once, the next when something has changed, until the drain."""
    async with opened(servicer.WatchHealthStatus(CALL, pb.WatchHealthStatusRequest())) as changes:
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


async def test_status_says_what_runs(board: Board, servicer: HealthService) -> None:
    """Version, stage, addresses, upstream, layers and what is in flight arrive."""
    await board.listing.all()
    board.bus.publish(arrived(EXECUTE))
    await board.clock.advance(5)
    status = await servicer.GetBackendStatus(CALL, pb.GetBackendStatusRequest())
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


async def status_of(servicer: HealthService) -> pb.HealthStatus:
    return (await servicer.GetHealthStatus(CALL, pb.GetHealthStatusRequest())).status


async def test_circuits_arrive(board: Board, servicer: HealthService) -> None:
    """Each with its state, what it opened on, and times of day in place of the clock's."""
    now = board.clock.now()
    open_ = CircuitState.OPEN
    circuit = CircuitStatus("models/a", open_, now - 1, now + 9, 20, 15, 3, key_id="k1")
    circuit = replace(circuit, reason="UPSTREAM_UNAVAILABLE", opened=2)
    board.stands(circuits=(circuit,))
    status = await status_of(servicer)
    assert [
        pb.CircuitBreakerStatus(
            model="models/a",
            key_id="k1",
            state=pb.CIRCUIT_STATE_OPEN,
            failure_ratio=0.75,
            window_calls=20,
            state_time=at(board, -1),
            probe_time=at(board, 9),
            rejected_calls=3,
            last_failure_reason=ERROR_REASON_UPSTREAM_UNAVAILABLE,
            opened_count=2,
        )
    ] == list(status.circuit_breakers)
    assert (
        "models/a with key k1 is not called because its circuit is open" in status.models[0].message
    )


async def test_quotas_and_keys_arrive(board: Board, servicer: HealthService) -> None:
    """Each with its project, and until when it is closed."""
    now = board.clock.now()
    board.stands(
        quotas=(QuotaStatus("models/a", QuotaKind.REQUESTS_PER_DAY, 9, 4, True, now + 3, "p"),),
        keys=(KeyStatus("k1", "p", KeyState.THROTTLED, now + 4, 1, 2, 3, "UPSTREAM_THROTTLED"),),
    )
    status = await status_of(servicer)
    assert [
        pb.QuotaBucketStatus(
            project="p",
            model="models/a",
            kind=pb.QUOTA_KIND_REQUESTS_PER_DAY,
            capacity=9,
            available=4,
            learned=True,
            blocked_until=at(board, 3),
        )
    ] == list(status.quota_buckets)
    assert [
        pb.UpstreamKeyStatus(
            key_id="k1",
            project="p",
            state=pb.UPSTREAM_KEY_STATE_THROTTLED,
            state_until=at(board, 4),
            in_flight=1,
            succeeded=2,
            failed=3,
            last_failure_reason=ERROR_REASON_UPSTREAM_THROTTLED,
        )
    ] == list(status.upstream_keys)


async def test_the_queue_arrives(board: Board, servicer: HealthService) -> None:
    """Slots, who waits at which priority and for how long, and refusals."""
    queue = AdmissionState(5, None, (1, 0, 2), 1.5, 0.25, 7, adaptive=True, max_queued=100)
    board.stands(admission=replace(queue, refused_at=board.clock.now() - 2))
    assert (await status_of(servicer)).admission == pb.AdmissionStatus(
        running=5,
        adaptive=True,
        queues=[
            pb.QueueDepth(priority="interactive", queued=1),
            pb.QueueDepth(priority="default"),
            pb.QueueDepth(priority="batch", queued=2),
        ],
        max_queued=100,
        oldest_wait=Duration(seconds=1, nanos=500_000_000),
        estimated_wait=Duration(nanos=250_000_000),
        refused=7,
        last_refusal_time=at(board, -2),
    )


def at(board: Board, seconds: float) -> Timestamp | None:
    """Return the moment so many seconds from now."""
    return timestamp_of(board.wall() + seconds)


async def test_a_watch_tells_of_circuits(board: Board, servicer: HealthService) -> None:
    """Opening and closing are each told at the next look, though no execution has ended."""
    closed = CircuitStatus("models/a", CircuitState.CLOSED, 0.0, None, 20, 20, 0)
    board.stands(circuits=(closed,))
    request = pb.WatchHealthStatusRequest(min_interval=Duration(nanos=100_000_000))
    states = []
    async with opened(servicer.WatchHealthStatus(CALL, request)) as changes:
        await anext(changes)
        for state in (CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED):
            waiting = asyncio.ensure_future(anext(changes))
            await board.clock.advance(1)
            assert not waiting.done()
            now = board.clock.now()
            probe = now + 5 if state is CircuitState.OPEN else None
            board.stands(
                circuits=(replace(closed, state=state, since=now, probe_at=probe, opened=1),)
            )
            await board.clock.advance(0.1)
            states.append((await waiting).status.state)
    expected = [pb.HEALTH_STATE_UNHEALTHY, pb.HEALTH_STATE_DEGRADED, pb.HEALTH_STATE_HEALTHY]
    assert expected == states
