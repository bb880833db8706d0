"""Every way to connect is tried on both event loops: TLS and sockets are each loop's own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvloop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Have each test that opens sockets run on one loop, and then on the other."""
    sockets_too = "nothing_left_open" in getattr(item, "fixturenames", ())
    return LOOPS if sockets_too else {"asyncio": asyncio.new_event_loop}


def sockets() -> int:
    """Return how many sockets this process has open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the one by which they are listed
            found += str(entry.readlink()).startswith("socket:")
    return found


@pytest.fixture
async def nothing_left_open() -> AsyncIterator[None]:
    """Fail a test that leaves a socket or a task behind."""
    await asyncio.sleep(0)  # a loop opens some of its own when it begins to run
    before = sockets(), len(asyncio.all_tasks())
    yield
    await asyncio.sleep(0.02)
    after = sockets(), len(asyncio.all_tasks())
    assert before >= after
