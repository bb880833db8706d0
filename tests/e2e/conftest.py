"""Fixtures: the real server as a process, and a channel to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

from tests.support.process import Process, running, serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def simulator() -> AsyncIterator[Process]:
    """Run the simulator as a process of its own."""
    async with running("simulate", "--listen", "127.0.0.1:0") as process:
        yield process


@pytest.fixture
async def server(simulator: Process) -> AsyncIterator[Process]:
    """Run the server with that simulator as its upstream."""
    async with serving(upstream_at(simulator.http)) as process:
        yield process


@pytest.fixture
async def channel(server: Process) -> AsyncIterator[grpc.aio.Channel]:
    """Return a channel to the server."""
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(server.grpc, options) as opened:
        yield opened
