"""What else the clients can do."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from clients.python.tests.fake_backend import PATIENCE, Failure
from gemini.backend.v1.execute_service_pb2 import CountTokensRequest, ExecuteRequest
from gemini.backend.v1.health_service_pb2 import GetHealthStatusRequest
from gemini.backend.v1.model_service_pb2 import ListModelsRequest
from gemini_backend_client import (
    AsyncClient,
    Client,
    NotFoundError,
    ServingStatus,
    UnimplementedError,
    UnknownModelError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.python.tests.fake_backend import FakeBackend


def test_process_gives_the_whole_answer(client: Client, backend: FakeBackend) -> None:
    """`process` returns once, with text and usage."""
    answer = client.process("hi", model="m", generation_config={"temperature": 0.5})
    assert "Hello" == answer.text == str(answer)
    assert 5 == answer.usage.total_token_count
    assert "e-1" == answer.execution_id
    assert answer.cost is None
    assert 0.5 == backend.requests[0].generation_config.temperature


async def test_async_process(async_client: AsyncClient) -> None:
    """Under asyncio it is awaited."""
    assert "Hello" == (await async_client.process("hi")).text


async def test_both_clients_agree(client: Client, async_client: AsyncClient) -> None:
    """Every operation of one client is an operation of the other."""
    names = {name for name in dir(client) if not name.startswith("_")}
    assert names == {name for name in dir(async_client) if not name.startswith("_")}


def test_count_tokens(client: Client, backend: FakeBackend) -> None:
    """`count_tokens` takes a conversation as `execute` does."""
    assert 7 == client.count_tokens("hi", system_instruction="be brief").total_tokens
    (request,) = backend.requests
    assert isinstance(request, CountTokensRequest)
    assert "be brief" == request.system_instruction.parts[0].text


async def test_embed(client: Client, async_client: AsyncClient, backend: FakeBackend) -> None:
    """Each content gets a vector."""
    assert [0.5] == client.embed(["a", "b"], model="m").embeddings[0].values
    assert ["a", "b"] == [content.parts[0].text for content in backend.requests[0].contents]
    assert 1 == len((await async_client.embed(["a"])).embeddings)


def test_models_come_page_by_page(client: Client, backend: FakeBackend) -> None:
    """A page is asked for when it is needed, with the filters of the first."""
    request = ListModelsRequest(include_gone=True)
    models = client.models.list(request)
    assert "models/a" == next(models).name
    assert 1 == len(backend.requests)
    assert ["models/b", "models/c"] == [model.name for model in models]
    assert [True, True] == [asked.include_gone for asked in backend.requests]
    assert ["", "2"] == [asked.page_token for asked in backend.requests]
    assert not request.page_token


async def test_async_models(async_client: AsyncClient) -> None:
    """Under asyncio the list is iterated with `async for`."""
    names = [model.name async for model in async_client.models.list()]
    assert ["models/a", "models/b", "models/c"] == names
    assert "models/x" == (await async_client.models.get("models/x")).name


def test_unknown_model(client: Client, backend: FakeBackend) -> None:
    """A model that does not exist is an error of its own, and a NotFoundError."""
    info = ErrorInfo(domain="gemini.backend", reason="CALLER_UNKNOWN_MODEL")
    backend.script(Failure(grpc.StatusCode.NOT_FOUND, "no model 'x'", (info,)))
    with pytest.raises(UnknownModelError) as caught:
        client.models.get("x")
    assert isinstance(caught.value, NotFoundError)


def test_any_other_method_is_called_through_its_stub(client: Client, backend: FakeBackend) -> None:
    """`call` and `stream` give every stub deadline, metadata and typed errors."""
    count = client.stubs.execute.CountTokens
    assert 7 == client.call(count, CountTokensRequest(prompt="hi")).total_tokens
    execute = client.stubs.execute.Execute
    assert 4 == len(list(client.stream(execute, ExecuteRequest(prompt="hi"))))
    assert all(seconds is not None and seconds < PATIENCE + 1 for seconds in backend.remaining)
    with pytest.raises(UnimplementedError):
        client.call(client.stubs.health.GetHealthStatus, GetHealthStatusRequest())


async def test_async_call_and_stream(async_client: AsyncClient) -> None:
    """Likewise under asyncio."""
    stubs = async_client.stubs
    counted = await async_client.call(stubs.execute.CountTokens, CountTokensRequest(prompt="hi"))
    assert 7 == counted.total_tokens
    stream = async_client.stream(stubs.execute.Execute, ExecuteRequest(prompt="hi"))
    assert 4 == len([event async for event in stream])


def test_metadata_goes_with_every_call(backend: FakeBackend) -> None:
    """Metadata are the client's, their names in lower case."""
    with Client(backend.target, metadata={"Authorization": "Bearer t"}) as client:
        client.process("hi")
        client.execute("hi").result()
    assert ["Bearer t", "Bearer t"] == [sent["authorization"] for sent in backend.metadata]


@pytest.fixture
def health_target() -> Iterator[str]:
    """Give a server with the standard health service."""
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("a.Service", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(grace=None).wait(PATIENCE)


async def test_health(health_target: str) -> None:
    """`health` speaks the standard protocol, whoever serves it."""
    with Client(health_target) as client:
        assert ServingStatus.SERVING is client.health()
        assert ServingStatus.NOT_SERVING is client.health("a.Service")
        with pytest.raises(NotFoundError):
            client.health("no.Service")
    async with AsyncClient(health_target) as async_client:
        assert ServingStatus.SERVING is await async_client.health()


def test_a_client_may_be_shared_by_threads(client: Client) -> None:
    """Threads that start at once open one connection and each get their own answer."""
    gate = threading.Barrier(8)

    def ask(_: int) -> str:
        gate.wait(PATIENCE)
        return client.execute("hi").text()

    with ThreadPoolExecutor(8) as pool:
        assert ["Hello"] * 8 == list(pool.map(ask, range(8)))


def test_a_closed_client_says_so(backend: FakeBackend) -> None:
    """After `close` nothing is opened again."""
    client = Client(backend.target)
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.execute("hi")


def test_after_a_fork_the_channel_is_a_new_one(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process never uses the channel that another one opened."""
    before = client._link.channel
    assert before is client._link.channel
    own = os.getpid()
    monkeypatch.setattr("gemini_backend_client.connection.link.os.getpid", lambda: own + 1)
    after = client._link.channel
    assert before is not after
    before.close()


def test_an_async_client_belongs_to_one_loop(backend: FakeBackend) -> None:
    """In a second event loop it names the fix rather than hang."""
    client = AsyncClient(backend.target)

    async def ask() -> str:
        return (await client.process("hi")).text

    async def ask_and_close() -> None:
        assert "Hello" == await ask()

    asyncio.run(ask_and_close())
    with pytest.raises(RuntimeError, match="one for each loop"):
        asyncio.run(ask())
