"""Embeddings, against the real server and the simulator."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from gemini_backend_client import AsyncClient, InvalidRequestError, UnimplementedError
from tests.support.servers.process import serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[tuple[Process, AsyncClient]]:
    """Run a simulator and a server in front of it; yield the simulator and a client."""
    async with (
        simulating() as simulator,
        serving(upstream_at(simulator.http, GEMINI_BACKEND_EMBED__WINDOW_MS="20")) as server,
        AsyncClient(server.grpc) as client,
    ):
        yield simulator, client


async def test_many_callers_cost_few_calls(stack: tuple[Process, AsyncClient]) -> None:
    """200 callers at once make a handful of calls upstream, and each has its own vector."""
    simulator, client = stack
    before = (await stats_of(simulator))["requests"]
    texts = [f"river number {number}" for number in range(200)]
    together = await asyncio.gather(*(client.embed([text]) for text in texts))
    used = (await stats_of(simulator))["requests"] - before
    assert used <= 20
    alone = await client.embed(texts)
    assert [one.values for one in alone.embeddings] == [
        answer.embeddings[0].values for answer in together
    ]


async def test_settings_of_a_request_go_with_it(stack: tuple[Process, AsyncClient]) -> None:
    """Length and task are the caller's own, whoever else is in the same call."""
    _, client = stack
    short, long = await asyncio.gather(
        client.embed(["a"], output_dimensionality=8, task_type="RETRIEVAL_QUERY"),
        client.embed(["a"]),
    )
    assert 8 == len(short.embeddings[0].values) < len(long.embeddings[0].values)
    assert "models/gemini-embedding-001" == short.model


async def test_a_bad_request_fails_alone(stack: tuple[Process, AsyncClient]) -> None:
    """What Gemini refuses of one caller does not reach the others."""
    _, client = stack
    bad, good = await asyncio.gather(
        client.embed(["a"], output_dimensionality=1_000_000),
        client.embed(["b"]),
        return_exceptions=True,
    )
    assert isinstance(bad, InvalidRequestError)
    assert not isinstance(good, BaseException)


async def test_labels_are_refused_by_name(stack: tuple[Process, AsyncClient]) -> None:
    """What this version keeps no books of is not passed over."""
    _, client = stack
    with pytest.raises(UnimplementedError, match="labels"):
        await client.embed(["a"], labels={"team": "a"})
    answer = await client.embed(["a"], priority="PRIORITY_BATCH")
    assert answer.embeddings[0].values


async def test_a_call_of_its_own_says_what_it_cost(stack: tuple[Process, AsyncClient]) -> None:
    """A request that is split as well: all of its tokens at the model's price."""
    _, client = stack
    answer = await client.embed(["a river"] * 150)
    tokens = answer.usage.prompt_token_count
    assert tokens >= 300
    assert (tokens * 150, "models/gemini-embedding-001") == (
        answer.cost.cost_nano_usd,
        answer.cost.priced_model,
    )
