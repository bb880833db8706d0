"""Fixtures: a scripted server, and both clients of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.python.tests.fake_backend import PATIENCE, FakeBackend
from gemini.backend.v1 import (
    execute_service_pb2_grpc,
    model_service_pb2_grpc,
    session_service_pb2_grpc,
)
from gemini_backend_client import KEY_VARIABLE, AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture(autouse=True)
def no_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own key out of every test."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    """Give a fake server on a port of its own."""
    fake = FakeBackend()
    server = grpc.server(ThreadPoolExecutor(8))
    execute_service_pb2_grpc.add_ExecuteServiceServicer_to_server(fake, server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(fake, server)
    session_service_pb2_grpc.add_SessionServiceServicer_to_server(fake, server)
    fake.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield fake
    server.stop(grace=None).wait(PATIENCE)


@pytest.fixture
def client(backend: FakeBackend) -> Iterator[Client]:
    """Give a blocking client of the fake server."""
    with Client(backend.target, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
async def async_client(backend: FakeBackend) -> AsyncIterator[AsyncClient]:
    """Give a client for asyncio of the fake server."""
    async with AsyncClient(backend.target, timeout=PATIENCE) as client:
        yield client
