"""What one caller does wrong stays that caller's; what upstream's quota asks for is kept to."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from aiohttp import web

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from gemini_backend_client import AsyncClient, GeminiBackendError
from tests.support.servers.http_api import served
from tests.support.servers.process import serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.support.servers.process import Process

MODEL = "gemini-3.5-flash"
GOOD = {
    "candidates": [
        {"content": {"role": "model", "parts": [{"text": "hello"}]}, "finishReason": "STOP"}
    ],
    "modelVersion": MODEL,
}
EMPTY = {"candidates": [{"finishReason": "STOP"}], "modelVersion": MODEL}


def failure(code: int, status: str, message: str, *details: Any) -> web.Response:
    """Return a failure as Gemini answers it."""
    error = {"code": code, "status": status, "message": message, "details": list(details)}
    return web.json_response({"error": error}, status=code)


@asynccontextmanager
async def backend(
    answer: Callable[[str], web.Response], keys: str = "key-a-1,key-b-2", **settings: str
) -> AsyncIterator[tuple[list[tuple[float, str]], Process]]:
    """Run a server whose upstream answers by the text of the request; yield when it was asked."""
    asked: list[tuple[float, str]] = []

    async def api(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"models": []})
        asked.append((time.monotonic(), request.headers["x-goog-api-key"]))
        return answer(await request.text())

    quick = {"GEMINI_BACKEND_RETRY__INITIAL_DELAY_MS": "1", "GEMINI_BACKEND_CACHE__MODE": "off"}
    async with served(api) as url:
        env = upstream_at(url, **quick, **settings) | {"GEMINI_API_KEY": keys}
        async with serving(env) as server:
            yield asked, server


STALE = {
    "gone": (failure, 403, "PERMISSION_DENIED", "You do not have permission to access the File x"),
    "cache": (failure, 403, "PERMISSION_DENIED", "CachedContent not found (or permission denied)"),
    "bare": (failure, 403, "PERMISSION_DENIED", "The caller does not have permission"),
    "quoted": (failure, 400, "INVALID_ARGUMENT", "properties[api key].items: missing field"),
}


async def test_refusals_of_a_callers_own_things_take_no_key_out() -> None:
    """The caller is told that it is theirs; afterwards both keys serve, and health is well."""

    def answer(text: str) -> web.Response:
        for word, (make, *told) in STALE.items():
            if word in text:
                return make(*told)
        return web.json_response(GOOD)

    async with backend(answer) as (asked, server), AsyncClient(server.grpc, retry=None) as client:
        reasons = []
        for word in STALE:
            with pytest.raises(GeminiBackendError) as refused:
                await client.process(word, model=MODEL)
            reasons.append(refused.value.details.reason)
        assert ["CALLER_UNKNOWN_RESOURCE"] * 2 + ["CALLER_REFUSED_BY_MODEL_API"] * 2 == reasons
        del asked[:]
        for number in range(4):
            await client.process(f"fine {number}", model=MODEL)
        assert {"key-a-1", "key-b-2"} == {key for _, key in asked}
        async with grpc.aio.insecure_channel(server.grpc) as channel:
            stub = health_rpc.HealthServiceStub(channel)
            status = (await stub.GetHealthStatus(health.GetHealthStatusRequest())).status
        assert health.HEALTH_STATE_HEALTHY == status.state


async def test_empty_answers_of_one_caller_open_no_circuit() -> None:
    """Sixty of them, and the next caller is served."""

    def answer(text: str) -> web.Response:
        return web.json_response(EMPTY if "hollow" in text else GOOD)

    async with backend(answer) as (_, server), AsyncClient(server.grpc, retry=None) as client:
        for number in range(60):
            with pytest.raises(GeminiBackendError) as failed:
                await client.process(f"hollow {number}", model=MODEL)
            assert "UPSTREAM_EMPTY_ANSWER" == failed.value.details.reason
        assert "hello" == (await client.process("fine", model=MODEL)).text


async def test_a_text_that_cannot_be_embedded_fails_alone() -> None:
    """Its neighbours in the same upstream request have their vectors."""

    def answer(text: str) -> web.Response:
        if "bad" in text:
            return failure(500, "INTERNAL", "An internal error has occurred.")
        vectors = [{"values": [1.0]}] * len(json.loads(text)["requests"])
        return web.json_response({"embeddings": vectors})

    async def embedded(stub: Any, text: str) -> Any:
        part = content.Part(text=text)
        request = pb.EmbedRequest(
            contents=[content.Content(parts=[part])], model="gemini-embedding-2"
        )
        try:
            return len((await stub.Embed(request)).embeddings)
        except grpc.aio.AioRpcError as error:
            return error.code()

    async with (
        backend(answer) as (_, server),
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        stub = rpc.ExecuteServiceStub(channel)
        texts = [*(f"text {number}" for number in range(20)), "bad"]
        found = await asyncio.gather(*(embedded(stub, text) for text in texts))
    assert [1] * 20 + [grpc.StatusCode.UNAVAILABLE] == found


async def test_a_throttled_crowd_comes_back_spread_out_and_is_told() -> None:
    """Not before the time that was named, never many in a tenth of a second; with a warning."""
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}
    until = time.monotonic() + 3600

    def answer(_text: str) -> web.Response:
        nonlocal until
        if until > time.monotonic() + 60:
            until = time.monotonic() + 0.3
        if time.monotonic() < until:
            return failure(429, "RESOURCE_EXHAUSTED", "slow down", delay)
        return web.json_response(GOOD)

    async with backend(answer, "key-a-1") as (asked, server), AsyncClient(server.grpc) as client:
        crowd = [client.process(f"hi {number}", model=MODEL) for number in range(30)]
        answers = await asyncio.gather(*crowd)
        throttled = asked[0][0]
        later = sorted(at - throttled for at, _ in asked if at > until)
    assert 30 == len(later)
    assert later[0] >= 1.5
    assert max(sum(at <= one < at + 0.1 for one in later) for at in later) <= 10
    warnings = {one.code for answer in answers for one in answer.response.started.warnings}
    assert {"WAITED_FOR_QUOTA"} == warnings
