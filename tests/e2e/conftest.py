"""Fixtures: the real server as a process, and a channel to it.

One server stands for all tests of a file, so that what one test does to it, the next one meets;
such a file says `pytestmark = pytest.mark.asyncio(loop_scope="module")`. A test that ends its
server, or needs one of its own, starts it with `serving`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
import pytest_asyncio

from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.servers.process import AS_IT_COMES, Process, serving, simulating, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def simulator() -> AsyncIterator[Process]:
    """Run the simulator as a process of its own."""
    async with simulating() as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(simulator: Process) -> AsyncIterator[Process]:
    """Run the server with that simulator as its upstream; faults show as they come."""
    async with serving(upstream_at(simulator.http, **AS_IT_COMES)) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(server: Process) -> AsyncIterator[grpc.aio.Channel]:
    """Return a channel to the server."""
    async with grpc.aio.insecure_channel(server.grpc, _UNLIMITED) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    """Return the stub of ExecuteService."""
    return rpc.ExecuteServiceStub(channel)
