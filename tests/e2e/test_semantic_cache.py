"""The semantic cache, against the real server: the simulator's vectors are near by their words."""

from __future__ import annotations

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import metrics_service_pb2 as metrics
from gemini_backend_client import AsyncClient
from tests.support.process import serving, simulating, upstream_at
from tests.support.upstreams import stats_of

LONG = "tell me which river is the very longest of all the rivers in the whole wide world"
COLD = {"temperature": 0}


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
