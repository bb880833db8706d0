"""A second upstream answers through the whole server, with nothing of it known outside the seam.

Covers: composition/doors/mounted_services.py, upstream/base.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from gemini.backend.v1 import config_service_pb2 as config
from gemini.backend.v1 import config_service_pb2_grpc as config_rpc
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from gemini.backend.v1 import metrics_service_pb2 as metrics
from gemini.backend.v1 import metrics_service_pb2_grpc as metrics_rpc
from gemini.backend.v1 import model_service_pb2 as models
from gemini.backend.v1 import model_service_pb2_grpc as model_rpc
from gemini.backend.v1.content_pb2 import Content, Part
from tests.support.layers.inproc import collect
from tests.support.messages.failures import failure_of
from tests.support.servers.simulator_stack import text_of
from tests.support.upstreams.raw_upstreams import until
from tests.support.upstreams.toy_upstream import LETTERS, MODEL, Toy, toy_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Toy, Any]]:
    """Run a server with the toy as its upstream."""
    async with toy_server(tmp_path) as made:
        yield made


@pytest.fixture
def toy(served: tuple[Toy, Any]) -> Toy:
    """Return the toy."""
    return served[0]


@pytest.fixture
def channel(served: tuple[Toy, Any]) -> grpc.aio.Channel:
    """Return a channel to the server."""
    made: grpc.aio.Channel = served[1]
    return made


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    """Return the stub of ExecuteService."""
    return execute_rpc.ExecuteServiceStub(channel)


async def test_a_stream_comes_through_the_whole_chain(stub: Any) -> None:
    """Its events are numbered, its attempt is reported, its usage is what the upstream says."""
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="abc def")))
    assert "fed cba" == text_of(events)
    assert [1, 2, 3] == [event.sequence for event in events]
    assert (MODEL, "toy-1.0") == (events[0].started.model, events[0].started.model_version)
    done = events[-1].completed
    assert (4, 1) == (done.usage.total_token_count, len(done.attempts))


async def test_a_whole_answer(stub: Any) -> None:
    """Its text and usage are what the upstream says."""
    answer = await stub.Process(pb.ProcessRequest(prompt="abc def"))
    assert "fed cba" == answer.candidates[0].content.parts[0].text
    assert 4 == answer.usage.total_token_count


async def test_tokens_are_counted_by_the_upstream(stub: Any) -> None:
    """By words, as this one does."""
    count = await stub.CountTokens(pb.CountTokensRequest(prompt="one two three"))
    assert (3, pb.TOKEN_COUNT_METHOD_UPSTREAM) == (count.total_tokens, count.method)


async def test_vectors_come_from_the_upstream(stub: Any) -> None:
    """One for each content, in order."""
    contents = [Content(parts=[Part(text=text)]) for text in ("abba", "zoo")]
    made = await stub.Embed(pb.EmbedRequest(contents=contents))
    counts = [{"a": 2, "b": 2}, {"z": 1, "o": 2}]
    assert [[float(one.get(letter, 0)) for letter in LETTERS] for one in counts] == [
        list(vector.values) for vector in made.embeddings
    ]


async def test_its_models_are_listed(channel: grpc.aio.Channel) -> None:
    """A model that the catalogue does not know is listed as the upstream describes it."""
    request = models.ListModelsRequest(page_size=1000)
    listed = await model_rpc.ModelServiceStub(channel).ListModels(request)
    assert [(MODEL, "Toy")] == [
        (one.name, one.display_name)
        for one in listed.models
        if one.source == models.MODEL_SOURCE_UPSTREAM
    ]


async def test_a_name_that_it_cannot_have_is_refused_in_its_words(stub: Any) -> None:
    """Before anything is asked of it."""
    refused = await failure_of(stub.Process(pb.ProcessRequest(prompt="x", model="gemini-2.5-pro")))
    assert "is no toy" in refused.message


async def test_health_reports_its_facts(channel: grpc.aio.Channel) -> None:
    """Provider, address and version are its own; an upstream without keys has no layer for them."""
    stub = health_rpc.HealthServiceStub(channel)
    status = await stub.GetBackendStatus(health.GetBackendStatusRequest())
    upstream = status.upstream
    assert ("toy", "toy://here", "v0", 0, 1) == (
        upstream.provider,
        upstream.base_url,
        upstream.api_version,
        upstream.key_count,
        upstream.model_count,
    )
    mounted = {layer.name: layer.enabled for layer in status.layers}
    assert (True, False) == (mounted["retry"], mounted["keys"])


async def test_its_limit_of_connections_is_reported(channel: grpc.aio.Channel) -> None:
    """And how many of them are in use."""
    stub = metrics_rpc.MetricsServiceStub(channel)
    now = await stub.GetMonitoringMetrics(metrics.GetMonitoringMetricsRequest())
    assert (0, 3) == (now.metrics.upstream.in_use, now.metrics.upstream.limit)


async def test_a_live_setting_reaches_it(toy: Toy, channel: grpc.aio.Channel, stub: Any) -> None:
    """The next call answers by it."""
    changed = config.BackendConfig(execution=config.ExecutionConfig(merge_deltas=False))
    mask = FieldMask(paths=["execution.merge_deltas"])
    await config_rpc.ConfigServiceStub(channel).UpdateConfig(
        config.UpdateConfigRequest(config=changed, update_mask=mask)
    )

    async def merges() -> bool:
        return toy.made.merge

    await until(merges, lambda merge: not merge)
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="abc def")))
    assert ["fed", " cba"] == [text_of([event]) for event in events[1:-1]]


@pytest.mark.parametrize("whole", [True, False])
async def test_what_fails_once_is_retried_without_keys(toy: Toy, stub: Any, *, whole: bool) -> None:
    """The second attempt answers, streamed or whole; both attempts are reported."""
    toy.made.tired = 1
    if whole:
        answer = await stub.Process(pb.ProcessRequest(prompt="abc"))
        assert ("cba", 2) == (answer.candidates[0].content.parts[0].text, len(answer.attempts))
        return
    events = await collect(stub.Execute(pb.ExecuteRequest(prompt="abc")))
    assert "cba" == text_of(events)
    assert 2 == len(events[-1].completed.attempts)


async def test_an_error_of_its_own_is_a_typed_status(toy: Toy, stub: Any) -> None:
    """Code, reason and words are its own; what was tried is told."""
    toy.made.tired = 9
    failed = await failure_of(collect(stub.Execute(pb.ExecuteRequest(prompt="abc"))))
    assert (grpc.StatusCode.UNAVAILABLE, "UPSTREAM_UNAVAILABLE") == (failed.code, failed.reason)
    assert "the toy is tired" in failed.message
    assert 6 == len(failed.execution.attempts)


async def test_the_server_ends_upstream_and_provider(tmp_path: Path) -> None:
    """The upstream first, then what was started for it, each once."""
    async with toy_server(tmp_path) as (toy, _):
        assert (False, 0) == (toy.made.closed, toy.ended)
    assert (True, 1) == (toy.made.closed, toy.ended)
