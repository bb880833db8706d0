"""One pass through the real server as it starts without any settings: each kind of work once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import aiohttp
import pytest
import pytest_asyncio

from gemini.backend.v1 import config_service_pb2 as config_pb
from gemini.backend.v1 import metrics_service_pb2 as metrics_pb
from gemini_backend_client import AsyncClient, InvalidRequestError, ServingStatus
from tests.support.servers.process import Process, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Process]:
    """Run the server without a key: its built-in simulator answers."""
    async with serving() as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: Process) -> AsyncIterator[AsyncClient]:
    """Return a client of it."""
    async with AsyncClient(server.grpc, timeout=20) as made:
        yield made


async def test_a_prompt_streams_its_answer(client: AsyncClient) -> None:
    """Execute streams text; what is put together is what Process gives at once."""
    execution = client.execute("Say: one two three")
    pieces = [piece async for piece in execution]
    assert "one two three" == "".join(pieces)
    assert "one two three" == (await client.process("Say: one two three")).text


async def test_a_batch_answers_each_item(client: AsyncClient) -> None:
    """Each item of a batch has its own answer."""
    results = [one async for one in client.batch(["Say: a", "Say: b"])]
    assert {"a", "b"} == {one.result().text for one in results}


async def test_tokens_and_vectors(client: AsyncClient) -> None:
    """CountTokens counts, Embed gives each content a vector."""
    assert 0 < (await client.count_tokens("Say: hello")).total_tokens
    answer = await client.embed(["a river", "a lake"])
    assert [True, True] == [len(one.values) > 0 for one in answer.embeddings]


async def test_a_session_remembers(client: AsyncClient) -> None:
    """Two turns of a session are kept in order."""
    made = await client.sessions.create()
    talk = client.session(made.name)
    await talk.process("Say: first")
    await talk.process("Say: second")
    turns = [turn async for turn in client.sessions.turns(made.name)]
    assert ["first", "second"] == [turn.output.parts[0].text for turn in turns]


async def test_a_wrong_request_is_refused_by_field(client: AsyncClient) -> None:
    """A blank prompt is the caller's error, and names the field."""
    with pytest.raises(InvalidRequestError, match="prompt"):
        await client.process(" ")


async def test_models_configuration_and_metrics(client: AsyncClient) -> None:
    """Models are listed, the configuration is shown, and executions have been counted."""
    assert "models/gemini-3.5-flash" in [model.name async for model in client.models.list()]
    shown = await client.call(client.stubs.config.GetConfig, config_pb.GetConfigRequest())
    assert 1 == shown.revision
    await client.process("Say: counted")
    asked = metrics_pb.GetPerformanceMetricsRequest()
    counted = await client.call(client.stubs.metrics.GetPerformanceMetrics, asked)
    assert 1 <= counted.executions.requests.succeeded


async def test_health_and_pages(client: AsyncClient, server: Process) -> None:
    """The health service and every page say that all is well."""
    assert ServingStatus.SERVING == await client.health()
    async with aiohttp.ClientSession(server.web) as session:
        for path in ("/", "/healthz", "/readyz", "/metrics"):
            async with session.get(path) as answer:
                assert (path, 200) == (path, answer.status)


async def test_a_signal_ends_it_well() -> None:
    """SIGTERM ends a server with exit code 0."""
    async with serving() as server:
        assert 0 == await server.stop(signal.SIGTERM)
