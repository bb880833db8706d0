"""A model API whose answer is chosen by the name of the model, so that nothing needs to be set."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

KIND = "type.googleapis.com/google.rpc"
USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}


def error(code: int, status: str, message: str, *details: Mapping[str, Any]) -> dict[str, Any]:
    """Return an error as Gemini writes it, with its HTTP status."""
    return {"code": code, "message": message, "status": status, "details": list(details)}


def quota(period: str) -> dict[str, Any]:
    """Return the detail that says which quota is used up."""
    name = f"GenerateRequestsPer{period}PerProjectPerModel-FreeTier"
    return {"@type": f"{KIND}.QuotaFailure", "violations": [{"quotaId": name}]}


def delay(seconds: int) -> dict[str, Any]:
    """Return the detail that says when to come back."""
    return {"@type": f"{KIND}.RetryInfo", "retryDelay": f"{seconds}s"}


def reason(name: str) -> dict[str, Any]:
    """Return the detail that names Google's reason."""
    return {"@type": f"{KIND}.ErrorInfo", "reason": name, "domain": "googleapis.com"}


def candidate(*parts: Mapping[str, Any], finish: str = "", message: str = "") -> dict[str, Any]:
    """Return an answer with one candidate."""
    made: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        made["finishReason"] = finish
    if message:
        made["finishMessage"] = message
    return {"candidates": [made], "modelVersion": "scripted-1", "usageMetadata": USAGE}


INVALID = "INVALID_ARGUMENT"
BUSY = "RESOURCE_EXHAUSTED"
CODE = "print(write_file(content='''" + "x = 1 # some code of the model\n" * 1500 + "'''))"
THOUGHTS = {"text": "thinking about it " * 1000, "thought": True}
BAD_FIELDS = {
    "@type": f"{KIND}.BadRequest",
    "fieldViolations": [
        {"field": f"tools[{n}].parameters", "description": "Invalid value (enum)"}
        for n in range(150)
    ],
}

ERRORS: dict[str, dict[str, Any]] = {
    "refused": error(400, INVALID, "unknown name"),
    "refused-chinese": error(400, INVALID, "无效的参数" * 340),
    "refused-long": error(400, INVALID, "Unknown name at 'tools[0]'. " * 6000),
    "refused-fields": error(400, INVALID, "Invalid value", BAD_FIELDS),
    "too-long": error(
        400, INVALID, "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    ),
    "unknown-model": error(404, "NOT_FOUND", "models/x is not found for API version v1beta"),
    "throttled": error(429, BUSY, "slow down", quota("Minute"), delay(7)),
    "throttled-twelve": error(429, BUSY, "slow down " * 150, *[quota("Minute")] * 12, delay(7)),
    "spent": error(429, BUSY, "come back tomorrow", quota("Day")),
    "key": error(400, INVALID, "API key not valid.", reason("API_KEY_INVALID")),
    "project": error(403, "PERMISSION_DENIED", "API not enabled", reason("SERVICE_DISABLED")),
    "cancelled": error(499, "CANCELLED", "The operation was cancelled."),
    "unavailable": error(503, "UNAVAILABLE", "The model is overloaded."),
    "gave-up": error(504, "DEADLINE_EXCEEDED", "Deadline expired."),
}
ANSWERS: dict[str, dict[str, Any]] = {
    "good": candidate({"text": "hello"}, finish="STOP"),
    "large": candidate({"text": "x" * 400_000}, finish="STOP"),
    "blocked-prompt": {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": USAGE},
    "blocked-answer": candidate(finish="SAFETY"),
    "blocked-code": candidate(finish="MALFORMED_FUNCTION_CALL", message=CODE),
    "blocked-thoughts": candidate(THOUGHTS, finish="SAFETY"),
    "limited": candidate(finish="PUP_LIMITED_DISABLED"),
    "empty": candidate({"text": ""}, finish="STOP"),
}
PIECE = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"one"}],"role":"model"},"index":0}],'
    b'"modelVersion":"scripted-1"}\r\n\r\n'
)


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer by the model's name, `case-NAME`."""
    if request.method == "GET":
        return _last(web.json_response({"models": []}))
    await request.read()
    name = request.path.rpartition("/case-")[2].partition(":")[0]
    if name in ERRORS:
        return web.json_response({"error": ERRORS[name]}, status=ERRORS[name]["code"])
    if name in ANSWERS:
        return web.json_response(ANSWERS[name])
    return await STREAMS[name](request)


def _last(response: web.Response) -> web.Response:
    """Close the connection after this response."""
    response.force_close()
    return response


async def _leaves(_request: web.Request) -> web.StreamResponse:
    busy = error(503, "UNAVAILABLE", "The model is overloaded.", delay(2))
    return _last(web.json_response({"error": busy}, status=503))


async def _page(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html><title>It works</title></html>", content_type="text/html")


async def _mute(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def _one_piece(request: web.Request) -> web.StreamResponse:
    stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await stream.prepare(request)
    await stream.write(PIECE)
    return stream


async def _stalls(request: web.Request) -> web.StreamResponse:
    stream = await _one_piece(request)
    await asyncio.sleep(60)
    return stream


async def _cut(request: web.Request) -> web.StreamResponse:
    stream = await _one_piece(request)
    assert request.transport is not None
    request.transport.close()
    return stream


STREAMS: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
    "leaves": _leaves,
    "page": _page,
    "mute": _mute,
    "stalls": _stalls,
    "cut": _cut,
}
