"""What several of these tests run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from tests.support.servers.simulator_stack import Stack, stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Stack]:
    """Run one paced stack for all tests of a file, with single flight for every request."""
    slow = ("--first-byte-delay", "0.4", "--chunk-delay", "0.1")
    async with stack(*slow, COALESCE__MODE="all") as made:
        yield made
