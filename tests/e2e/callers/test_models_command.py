"""`gemini-backend models` and the Python client, of the models that a server knows."""

from __future__ import annotations

import json
from datetime import timedelta

from gemini_backend_client import AsyncClient, Client
from tests.support.servers.listed_models import FLASH, GONE, LITE, house
from tests.support.servers.process import run_backend, serving


async def test_the_command_lists() -> None:
    """`models` and `models list` print the same; a flag counts before the word and behind it."""
    async with serving() as server:
        at = ("--target", server.grpc)
        plain = await run_backend("models", *at)
        named = await run_backend("models", "list", *at)
        before = await run_backend("models", "--all", "list", *at)
        behind = await run_backend("models", "list", "--all", *at)
    assert (0, plain.stdout) == (named.code, named.stdout)
    assert (0, before.stdout) == (behind.code, behind.stdout)
    assert len(before.stdout) > len(plain.stdout)


async def test_the_command_recommends_and_validates() -> None:
    """A table with reasons, who is left out and why; a verdict; JSON; wrong use is one sentence."""
    async with house(FLASH, LITE) as one:
        at = ("--target", one.server.grpc)
        ranked = await run_backend("models", *at, "recommend", "coding", "--max-cost", "0.01")
        assert ranked.code == 0
        assert ranked.stdout.splitlines()[1].split()[:2] == ["1", FLASH]
        none = await run_backend("models", "recommend", "reasoning", "--max-cost", "0", *at)
        assert "no model meets every requirement" in none.stdout
        assert f"{FLASH}: a request costs $0.00413, above the budget" in none.stdout
        verdict = await run_backend("models", "validate", FLASH, "--capability", "penalties", *at)
        assert (
            f"{FLASH}: no\n  problem, capability: it does not support penalties" in verdict.stdout
        )
        whole = await run_backend("models", "validate", FLASH, "--json", *at)
        assert json.loads(whole.stdout)["valid"]
        assert (1, 0) == (verdict.code, whole.code)
        wrong = await run_backend("models", "recommend", "--max-cost", "-1", *at)
        assert (2, 1) == (wrong.code, len(wrong.stderr.splitlines()))
        async with AsyncClient(one.server.grpc) as client:
            answer = await client.models.recommend(
                use_case="USE_CASE_CHAT", max_latency=timedelta(seconds=5), max_results=1
            )
            assert [f"models/{FLASH}"] == [two.model.name for two in answer.recommendations]
            assert (await client.models.validate("gemini-flash-latest", input_tokens=5)).valid
        with Client(one.server.grpc) as blocking:
            assert not blocking.models.validate(GONE).valid
