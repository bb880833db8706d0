"""Several upstream keys, against the real server and a model API that knows each of them."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gemini_backend.upstream.gemini.failure.quota_refusal import until_midnight_pacific
from gemini_backend_client import AsyncClient, GeminiBackendError, RateLimitedError
from tests.support.servers.http_api import served
from tests.support.servers.process import serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

GOOD = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}
    ],
    "modelVersion": "gemini-test-1",
}
NOT_VALID = {
    "code": 400,
    "message": "API key not valid. Please pass a valid API key.",
    "status": "INVALID_ARGUMENT",
    "details": [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
        }
    ],
}


def spent(period: str, delay: str) -> dict[str, Any]:
    """Return the body of a 429: the quota of a minute or of a day."""
    quota = f"GenerateRequestsPer{period}PerProjectPerModel"
    kind = "type.googleapis.com/google.rpc"
    return {
        "code": 429,
        "message": "You exceeded your current quota.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": f"{kind}.QuotaFailure", "violations": [{"quotaId": quota}]},
            {"@type": f"{kind}.RetryInfo", "retryDelay": delay},
        ],
    }


class Api:
    """Answers each key by its own error, once or for ever; without one, well."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.errors: dict[str, list[dict[str, Any]]] = {}

    async def answer(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"models": []})
        key = request.headers["x-goog-api-key"]
        self.asked.append(key)
        left = self.errors.get(key)
        if left:
            error = left[0] if len(left) == 1 and left[0]["code"] == 400 else left.pop(0)
            return web.json_response({"error": error}, status=error["code"])
        return web.json_response(GOOD)


@asynccontextmanager
async def backend(keys: str, **settings: str) -> AsyncIterator[tuple[Api, Process]]:
    """Run a server with these keys in front of an API of its own."""
    api = Api()
    async with served(api.answer) as url:
        env = upstream_at(url, **settings) | {"GEMINI_API_KEY": keys}
        async with serving(env) as server:
            yield api, server


async def test_one_dead_key_of_three_fails_no_call() -> None:
    """Every call succeeds; the dead key is asked once, and its text is told nowhere."""
    async with backend("dead-key-1,good-key-2,good-key-3") as (api, server):
        api.errors["dead-key-1"] = [NOT_VALID]
        async with AsyncClient(server.grpc, retry=None) as client:
            answers = [await client.process(f"hi {number}") for number in range(9)]
        assert ["hello"] * 9 == [answer.text for answer in answers]
        assert (1, 5, 4) == tuple(
            api.asked.count(key) for key in ("dead-key-1", "good-key-2", "good-key-3")
        )
        assert b"dead-key" not in server.stderr


async def test_every_key_dead_names_the_fix() -> None:
    """Each key is asked once, and the caller learns what the operator must do."""
    async with backend("dead-key-1,dead-key-2") as (api, server):
        api.errors = {"dead-key-1": [NOT_VALID], "dead-key-2": [NOT_VALID]}
        async with AsyncClient(server.grpc, retry=None) as client:
            with pytest.raises(GeminiBackendError, match="api_keys") as failed:
                await client.process("hi")
        assert "UPSTREAM_KEY_REFUSED" == failed.value.details.reason
        assert ["dead-key-1", "dead-key-2"] == api.asked


async def test_another_project_answers_at_once_while_one_is_throttled() -> None:
    """Keys of the throttled project are left alone; the call does not wait."""
    settings = {"GEMINI_BACKEND_UPSTREAM__GEMINI__KEY_PROJECTS": "a,a,b"}
    async with backend("key-a-1,key-a-2,key-b-1", **settings) as (api, server):
        api.errors["key-a-1"] = [spent("Minute", "30s")]
        async with AsyncClient(server.grpc, retry=None) as client:
            began = time.monotonic()
            for number in range(4):
                await client.process(f"hi {number}")
        assert time.monotonic() - began < 3
        assert ["key-a-1", *["key-b-1"] * 4] == api.asked


async def test_a_wait_that_upstream_asks_for_is_kept_to_the_fraction() -> None:
    """With one project the call goes on after `retryDelay`, no sooner and not much later."""
    async with backend("key-a-1") as (api, server):
        api.errors["key-a-1"] = [spent("Minute", "1.25s")]
        async with AsyncClient(server.grpc, retry=None) as client:
            began = time.monotonic()
            await client.process("hi")
        assert 1.25 <= time.monotonic() - began < 2.25


async def test_a_spent_day_closes_one_model_only() -> None:
    """The seconds that come with it are not believed; another model goes on."""
    async with backend("key-a-1") as (api, server):
        api.errors["key-a-1"] = [spent("Day", "2s")]
        async with AsyncClient(server.grpc, retry=None) as client:
            with pytest.raises(RateLimitedError) as failed:
                await client.process("hi", model="gemini-a")
            assert failed.value.retry_after is not None
            assert failed.value.retry_after > 60 or _near_midnight(failed.value.retry_after)
            assert "hello" == (await client.process("hi", model="gemini-b")).text
            with pytest.raises(RateLimitedError):
                await client.process("hi again", model="gemini-a")
        assert 2 == len(api.asked)


def _near_midnight(seconds: float) -> bool:
    """Say whether so little is left of the day, Pacific time, that it cannot be told apart."""
    return abs(until_midnight_pacific(datetime.now(UTC)) - seconds) < 5
