"""An upstream that sends the key back everywhere: it reaches no caller, log, span or metric."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import config_service_pb2 as config
from gemini.backend.v1 import config_service_pb2_grpc as config_rpc
from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from gemini.backend.v1 import model_service_pb2 as models
from gemini.backend.v1 import model_service_pb2_grpc as models_rpc
from tests.support.messages.planted_json import answer, planted
from tests.support.servers.process import AS_IT_COMES, serving, upstream_at
from tests.support.upstreams.raw_upstreams import listening

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from tests.support.servers.process import Process

KEY = "AIzaSyB3-echoed9Key0x7Of1This4Test2Only6"
PROMPT = "a prompt that nobody else may read"
FORMS = {
    "plain": KEY,
    "beginning": KEY[:20],
    "base64": b64encode(f"key={KEY}".encode()).decode(),
    "percent": KEY.replace("-", "%2D"),
}
HEAD = "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n\r\n"
QUOTED = {"error": {"code": 400, "message": f"in {PROMPT!r}", "status": "INVALID_ARGUMENT"}}


def reply(body: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    """Return a whole reply of HTTP."""
    data = body.encode()
    return HEAD.format(status=status, kind=kind, size=len(data)).encode() + data


def failure(text: str) -> str:
    """Return an error body with the text in every field."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": text, text: text}]
    error = {"code": 400, "message": text, "status": text, "details": details, text: text}
    return json.dumps({"error": error})


def replies(verb: str, text: str) -> dict[str, bytes]:
    """Return what each of the upstream's models answers."""
    whole = json.dumps(answer(text))
    if verb.startswith("stream"):
        good = reply(f"data: {whole}\r\n\r\n", kind="text/event-stream")
    elif verb == "countTokens":
        good = reply(json.dumps({"totalTokens": 3, text: text}))
    else:
        good = reply(whole)
    feedback = planted(content_pb2.PromptFeedback.DESCRIPTOR, text)
    return {
        "good": good,
        "blocked": reply(json.dumps({"promptFeedback": feedback, "modelVersion": text})),
        "refused": reply(failure(text), f"400 {text}"),
        "failed": reply(failure(text), f"500 {text}"),
        "page": reply(f"<html><title>{text}</title>", "502 Bad Gateway", f"text/{text}"),
        "elsewhere": reply("", f"302 Found\r\nLocation: https://{text}.test/{text}"),
        "quoting": reply(json.dumps(QUOTED), "400 Bad Request"),
    }


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests with their key, in the form that the model's name has."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(size[1]) if size else 0)
        found = re.search(r"models/(\w+)-(\w+):(\w+)", head)
        if found is None:
            one = {"name": f"models/listed-{KEY}", "description": KEY, KEY: [KEY]}
            writer.write(reply(json.dumps({"models": [one]})))
        else:
            writer.write(replies(found[3], FORMS[found[2]])[found[1]])


async def told_to_callers(stub: Any, model: str) -> AsyncIterator[str]:
    """Yield all that callers of each kind are told."""
    no_cache = pb.CacheControl(mode=pb.CACHE_MODE_BYPASS)
    for call in (
        stub.Execute(pb.ExecuteRequest(prompt=PROMPT, model=model, cache_control=no_cache)),
        stub.Process(pb.ProcessRequest(prompt=PROMPT, model=model, cache_control=no_cache)),
        stub.Embed(pb.EmbedRequest(contents=[{"parts": [{"text": PROMPT}]}], model=model)),
        stub.CountTokens(pb.CountTokensRequest(prompt=PROMPT, model=model, counting=1)),
    ):
        try:
            if hasattr(call, "read"):
                yield "".join([f"{event} {event.SerializeToString()!r}" async for event in call])
            else:
                answered = await call
                yield f"{answered} {answered.SerializeToString()!r}"
        except grpc.aio.AioRpcError as error:
            yield f"{error.details()} {error.trailing_metadata()}"


async def told_to_operators(server: Process, channel: grpc.aio.Channel) -> AsyncIterator[str]:
    """Yield all that operators are shown."""
    stubs: list[tuple[Any, str, Any]] = [
        (config_rpc.ConfigServiceStub(channel), "GetConfig", config.GetConfigRequest()),
        (config_rpc.ConfigServiceStub(channel), "ListConfigRevisions", None),
        (health_rpc.HealthServiceStub(channel), "GetHealthStatus", health.GetHealthStatusRequest()),
        (
            health_rpc.HealthServiceStub(channel),
            "GetBackendStatus",
            health.GetBackendStatusRequest(),
        ),
        (models_rpc.ModelServiceStub(channel), "ListModels", models.ListModelsRequest()),
    ]
    for stub, method, request in stubs:
        asked = config.ListConfigRevisionsRequest() if request is None else request
        yield str(await getattr(stub, method)(asked))
    async with aiohttp.ClientSession() as session:
        for path in ("/metrics", "/healthz", "/readyz"):
            async with session.get(f"{server.web}{path}") as found:
                yield await found.text()


@pytest.mark.parametrize("form", FORMS)
async def test_the_key_reaches_nobody(form: str) -> None:
    """Statuses, answers' metadata, listings, configuration, health, metrics, log lines, spans."""
    async with listening(echo) as url:
        settings = {**AS_IT_COMES, "OTEL_TRACES_EXPORTER": "console", "GEMINI_API_KEY": KEY}
        async with serving(upstream_at(url) | settings) as server:
            async with grpc.aio.insecure_channel(server.grpc) as channel:
                stub = rpc.ExecuteServiceStub(channel)
                told = [
                    text
                    for kind in replies("", "")
                    async for text in told_to_callers(stub, f"{kind}-{form}")
                ]
                told += [text async for text in told_to_operators(server, channel)]
            await server.stop()
    told.append(server.log())
    assert '"model_version":"' in server.log()
    assert "[key]" in server.log()
    traces = (KEY, KEY[:12], KEY[-12:], b64encode(KEY.encode()).decode()[4:-4], "%2Dechoed")
    for text in told:
        assert [] == [one for one in traces if one.lower() in text.lower()]


async def test_no_log_line_and_no_span_quotes_a_prompt() -> None:
    """Gemini's words may quote it: they are in the caller's status, and in nothing else."""
    async with listening(echo) as url:
        settings = {**AS_IT_COMES, "OTEL_TRACES_EXPORTER": "console"}
        async with serving(upstream_at(url, **settings)) as server:
            async with grpc.aio.insecure_channel(server.grpc) as channel:
                stub = rpc.ExecuteServiceStub(channel)
                told = [text async for text in told_to_callers(stub, "quoting-plain")]
                shown = [text async for text in told_to_operators(server, channel)]
            await server.stop()
    assert [True] * 4 == [PROMPT in text for text in told]
    assert [] == [text for text in (*shown, server.log()) if PROMPT in text]
    assert '"gemini_backend.reason": "CALLER_REFUSED_BY_MODEL_API"' in server.log()
    assert [] == [name for name in ("stacktrace", "AbortError") if name in server.log()]
