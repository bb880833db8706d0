"""Conversations through the server: a session, and a model API that answers with what was said."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as execute_rpc
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from gemini.backend.v1 import session_service_pb2 as sessions
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from tests.support.servers.http_api import served

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    import grpc

    from tests.support.servers.process import Process


Json = dict[str, Any]
OK: Json = {"content": {"role": "model", "parts": [{"text": "ok"}]}, "finishReason": "STOP"}


@dataclass
class Answerer:
    """A model API that answers with the candidates that it was given, one after another.

    What is in `streams` comes first, each as the events of a stream, just as they are. Requests
    for a model in `down`, a full name, are refused as those of an overloaded one.
    """

    candidates: list[Json] = field(default_factory=list)
    streams: list[list[Json]] = field(default_factory=list)
    version: str = "replayed-001"
    usage: Json = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    models: list[Json] = field(default_factory=list)
    listing_seconds: float = 0.0
    asked: list[Json] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for content, by default with `ok`; anything else with the models."""
        if request.method != "POST":
            await asyncio.sleep(self.listing_seconds)
            return web.json_response({"models": self.models})
        self.asked.append(await request.json())
        self.paths.append(request.path.removeprefix("/v1beta/"))
        if self.paths[-1].partition(":")[0] in self.down:
            error = {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}
            return web.json_response({"error": error}, status=503)
        if self.streams:
            return _streamed(self.streams.pop(0))
        given = self.candidates.pop(0) if self.candidates else OK
        body: Json = {"candidates": [given], "modelVersion": self.version}
        if self.usage:
            body["usageMetadata"] = self.usage
        if "stream" not in request.path:
            return web.json_response(body)
        return _streamed(pieces(body))


def _streamed(events: Iterable[Json]) -> web.Response:
    data = b"".join(b"data: %s\r\n\r\n" % json.dumps(one).encode() for one in events)
    return web.Response(body=data, content_type="text/event-stream")


def pieces(body: Json) -> Iterable[Json]:
    """Return a whole answer as the events of a stream, a part each."""
    candidate = body["candidates"][0]
    parts = candidate["content"]["parts"]
    for place, part in enumerate(parts, 1):
        piece = {**candidate, "content": {**candidate["content"], "parts": [part]}}
        if place < len(parts):
            piece = {"content": piece["content"]}
        yield {**body, "candidates": [piece]}


@asynccontextmanager
async def answering(*models: Json) -> AsyncIterator[Answerer]:
    """Run an `Answerer` on a free port; it lists these models."""
    made = Answerer(models=[*models])
    async with served(made.answer) as made.url:
        yield made


async def create(stub: Any, name: str = "", **fields: Any) -> str:
    """Make a session; return its name."""
    request = sessions.CreateSessionRequest(session_id=name, session=sessions.Session(**fields))
    made = await stub.CreateSession(request)
    found: str = made.session.name
    return found


async def exported(stub: Any, name: str) -> list[sessions.SessionTurn]:
    """Return every turn of a session."""
    request = sessions.ExportSessionRequest(name=name)
    items = [item async for item in stub.ExportSession(request)]
    assert "session" == items[0].WhichOneof("item")
    return [item.turn for item in items[1:]]


async def said(stub: Any, request: pb.ExecuteRequest, *, whole: bool) -> list[Any]:
    """Run one turn; return its events, or its whole answer alone."""
    if whole:
        same = pb.ProcessRequest.FromString(request.SerializeToString())
        return [await stub.Process(same)]
    return [event async for event in stub.Execute(request)]


class Desk:
    """Stubs of one server."""

    def __init__(self, channel: grpc.aio.Channel, server: Process, simulator: Process) -> None:
        self.execute: Any = execute_rpc.ExecuteServiceStub(channel)
        self.sessions: Any = session_rpc.SessionServiceStub(channel)
        self.health: Any = health_rpc.HealthServiceStub(channel)
        self.server = server
        self.simulator = simulator

    async def turns(self, name: str) -> list[sessions.SessionTurn]:
        """Return the turns of a session."""
        return await exported(self.sessions, name)

    async def component(self) -> tuple[int, str]:
        """Return how the store is, as health tells it."""
        answer = await self.health.GetHealthStatus(health.GetHealthStatusRequest())
        (found,) = [one for one in answer.status.components if one.name == "sessions"]
        return found.state, found.message


def state_in(folder: Path, **more: str) -> dict[str, str]:
    """Return the settings of a server that keeps its state there."""
    return {"GEMINI_BACKEND_STATE__DIR": str(folder), **more}
