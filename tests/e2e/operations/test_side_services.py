"""Models, metrics, health and the RPCs of later versions, on the real server."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message_factory import GetMessageClass

from gemini.backend.v1 import batch_service_pb2, file_service_pb2
from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import error_details_pb2 as details
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import health_service_pb2 as health_pb
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from gemini.backend.v1 import model_service_pb2 as models_pb
from gemini.backend.v1 import model_service_pb2_grpc as models_rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.process import serving

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor

pytestmark = pytest.mark.asyncio(loop_scope="module")

TURN = content.Content(role="user", parts=[content.Part(text="hi")])
SOON = Duration(nanos=200_000_000)


@pytest.fixture
def models(channel: grpc.aio.Channel) -> Any:
    """Return the stub of ModelService."""
    return models_rpc.ModelServiceStub(channel)


@pytest.fixture
def metrics(channel: grpc.aio.Channel) -> Any:
    """Return the stub of MetricsService."""
    return metrics_rpc.MetricsServiceStub(channel)


@pytest.fixture
def health(channel: grpc.aio.Channel) -> Any:
    """Return the stub of HealthService."""
    return health_rpc.HealthServiceStub(channel)


async def test_models_come_in_pages(models: Any) -> None:
    """Pages of two hold together what one large page holds, in the same order."""
    whole = (await models.ListModels(models_pb.ListModelsRequest(page_size=1000))).models
    found, token = [], ""
    while True:
        page = await models.ListModels(models_pb.ListModelsRequest(page_size=2, page_token=token))
        assert len(page.models) <= 2
        found += page.models
        token = page.next_page_token
        if not token:
            break
    assert list(whole) == found
    assert sorted(model.name for model in whole) == [model.name for model in whole]


async def test_a_foreign_page_token_is_refused(models: Any) -> None:
    """A token that no page gave is INVALID_ARGUMENT."""
    failed = await failure_of(models.ListModels(models_pb.ListModelsRequest(page_token="abc")))
    assert "CALLER_INVALID_REQUEST" == failed.reason


async def test_one_model(models: Any) -> None:
    """A model is had by its name, short or long; what is not there is NOT_FOUND."""
    short = await models.GetModel(models_pb.GetModelRequest(name="gemini-3.5-flash"))
    full = await models.GetModel(models_pb.GetModelRequest(name="models/gemini-3.5-flash"))
    assert short == full
    assert "models/gemini-3.5-flash" == full.model.name
    failed = await failure_of(models.GetModel(models_pb.GetModelRequest(name="models/none-such")))
    assert (grpc.StatusCode.NOT_FOUND, "CALLER_UNKNOWN_MODEL") == (failed.code, failed.reason)


async def test_performance_counts_what_happened(metrics: Any, stub: Any) -> None:
    """Executions, failures by reason, tokens and latencies are those that were made."""
    ask = metrics_pb.GetPerformanceMetricsRequest(window=Duration(seconds=300))
    before = (await metrics.GetPerformanceMetrics(ask)).executions
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="Hello")))
    await stub.Process(pb.ProcessRequest(prompt="Hello"))
    await failure_of(stub.Process(pb.ProcessRequest(prompt="hi [[fault: overloaded]]")))
    response = await metrics.GetPerformanceMetrics(ask)
    after = response.executions
    assert 3 == after.requests.total - before.requests.total
    assert 2 == after.requests.succeeded - before.requests.succeeded
    assert 1 == after.requests.failed - before.requests.failed
    reasons = {error.reason: error.count for error in after.errors}
    assert 1 <= reasons[details.ERROR_REASON_UPSTREAM_UNAVAILABLE]
    used = events[-1].completed.usage.total_token_count
    assert used <= after.tokens.total - before.tokens.total
    assert 0 < after.latency.p50.ToNanoseconds() <= after.latency.max.ToNanoseconds()
    assert after.first_token_latency.count >= 1
    assert 0 == after.in_flight
    assert {"/gemini.backend.v1.ExecuteService/Execute"} <= {m.method for m in response.methods}


async def test_monitoring_shows_what_is_open(metrics: Any, stub: Any) -> None:
    """An open stream is counted while it is open, and its upstream connection with it."""
    stream = stub.Execute(pb.ExecuteRequest(prompt="hi [[fault: stall after=1]]"))
    await stream.read()
    ask = metrics_pb.GetMonitoringMetricsRequest()
    now = (await metrics.GetMonitoringMetrics(ask)).metrics
    assert (1, 1, 1) == (now.open_streams, now.executions_in_flight, now.upstream.in_use)
    assert 2 == now.rpcs_in_flight
    assert now.process.resident_bytes > 1 << 20
    stream.cancel()


async def test_metrics_can_be_watched(metrics: Any) -> None:
    """Samples come at the asked interval, until the caller leaves."""
    watch = metrics.WatchMonitoringMetrics(metrics_pb.WatchMonitoringMetricsRequest(interval=SOON))
    samples = [(await asyncio.wait_for(watch.read(), 2)).metrics for _ in range(3)]
    watch.cancel()
    times = [sample.sample_time.ToNanoseconds() for sample in samples]
    assert all(later - earlier > 100_000_000 for earlier, later in pairwise(times))


async def test_health_and_status(health: Any, stub: Any) -> None:
    """A server that has just answered is live and ready; its status says what runs."""
    await stub.Process(pb.ProcessRequest(prompt="hi"))
    status = (await health.GetHealthStatus(health_pb.GetHealthStatusRequest())).status
    assert (True, True) == (status.live, status.ready)
    backend = await health.GetBackendStatus(health_pb.GetBackendStatusRequest())
    assert health_pb.SERVING_STATE_SERVING == backend.state
    assert ("gemini", "v1beta", 1) == (
        backend.upstream.provider,
        backend.upstream.api_version,
        backend.upstream.key_count,
    )
    names = [layer.name for layer in backend.layers]
    assert {"tracing", "deadline", "validate", "progress", "attempt_timeouts", "chaos"} <= set(
        names
    )
    assert not next(layer.enabled for layer in backend.layers if layer.name == "chaos")


async def test_health_can_be_watched(health: Any) -> None:
    """The first message comes at once; nothing more while nothing changes."""
    watch = health.WatchHealthStatus(health_pb.WatchHealthStatusRequest(min_interval=SOON))
    assert (await asyncio.wait_for(watch.read(), 2)).status.live
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(watch.read(), 0.6)
    watch.cancel()


LATER = [
    *(
        method
        for module, service in (
            (batch_service_pb2, "BatchService"),
            (file_service_pb2, "FileService"),
        )
        for method in module.DESCRIPTOR.services_by_name[service].methods
    ),
    *(
        method
        for method in pb.DESCRIPTOR.services_by_name["ExecuteService"].methods
        if method.name == "ExecuteCode"
    ),
]


@pytest.mark.parametrize("method", LATER, ids=lambda method: method.name)
async def test_what_comes_later_says_so(
    channel: grpc.aio.Channel, method: MethodDescriptor
) -> None:
    """UNIMPLEMENTED with BACKEND_NOT_IMPLEMENTED, for every kind of RPC."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    kinds = {False: "unary", True: "stream"}
    make = getattr(channel, f"{kinds[method.client_streaming]}_{kinds[method.server_streaming]}")
    request = filled(GetMessageClass(method.input_type))
    call = make(path, request_serializer=lambda message: message.SerializeToString())
    answer = call(iter([request]) if method.client_streaming else request, timeout=5)
    failed = await failure_of(collect(answer) if method.server_streaming else answer)
    assert grpc.StatusCode.UNIMPLEMENTED == failed.code, failed
    assert "BACKEND_NOT_IMPLEMENTED" == failed.reason


def filled(kind: Any) -> Any:
    """Return a message that breaks no rule."""
    name = kind.DESCRIPTOR.name
    hello = pb.ExecuteRequest(prompt="hi")
    valid: dict[str, dict[str, Any]] = {
        "CreateBatchRequest": {"entries": [batch_service_pb2.BatchEntry(request=hello)]},
        "ExecuteCodeRequest": {"instruction": "sort"},
        "GetUploadRequest": {"upload_id": "u1"},
        "UploadFileRequest": {"data": b"x"},
    }
    if name in valid:
        return kind(**valid[name])
    whose = next((one for one in ("batches", "files") if one[:4] in name.lower()), "")
    return kind(name=f"{whose}/x1") if "name" in kind.DESCRIPTOR.fields_by_name else kind()


async def test_counters_are_there_before_the_first_call() -> None:
    """A burst of failures is a rise from 0, whatever the method and the reason."""
    async with (
        serving({}) as server,
        aiohttp.ClientSession() as session,
        session.get(f"{server.web}/metrics") as found,
    ):
        rows = (await found.text()).splitlines()
    embed = 'method="/gemini.backend.v1.ExecuteService/Embed"'
    for name, *labels in (
        ("rpcs", embed, 'reason="UPSTREAM_KEY_REFUSED"'),
        ("executions", 'reason="POLICY_OVERLOADED"'),
        ("circuit_changes", 'state="open"'),
        ("session_store_failures", 'operation="put"'),
    ):
        start = f"gemini_backend_{name}_total"
        found_rows = [
            row for row in rows if row.startswith(start) and all(w in row for w in labels)
        ]
        assert {"0.0"} == {row.rpartition(" ")[2] for row in found_rows}, name
