"""A model API of a few lines, and the upstream that calls it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gemini_backend.call import Call
from gemini_backend.clock import SystemClock
from gemini_backend.upstream.gemini import client
from gemini_backend.upstream.gemini.client import GeminiUpstream
from gemini_backend.upstream.gemini.connection.aiohttp_client import AiohttpTransport
from gemini_backend.upstream.gemini.options import GeminiOptions
from tests.support.servers.http_api import served
from tests.support.upstreams.http_clients import HTTP_CLIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

KEY = "test-key-0123456789"


@pytest.fixture(autouse=True)
def http_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the HTTP client that was asked for."""
    if HTTP_CLIENT == "aiohttp":
        monkeypatch.setattr(client, "transport_of", AiohttpTransport)


class FakeApi:
    """Answers every request with what the test puts into `answer`."""

    def __init__(self) -> None:
        """Answer with an empty object until told otherwise."""
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] = self._nothing
        self.base_url = ""
        self.gone = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request and answer it."""
        self.requests.append(request)
        self.bodies.append(await request.read())
        try:
            return await self.answer(request)
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise

    def replies(
        self, body: bytes | str = b"", status: int = 200, content_type: str = "application/json"
    ) -> None:
        """Answer with this body."""
        raw = body.encode() if isinstance(body, str) else body

        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=raw, status=status, content_type=content_type)

        self.answer = answer

    def streams(self, *pieces: bytes, end: Any = None, headers: Any = ()) -> None:
        """Answer with an event stream in these pieces; then wait for `end`, if it is given."""

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(
                headers={"Content-Type": "text/event-stream", **dict(headers)}
            )
            await response.prepare(request)
            for piece in pieces:
                await response.write(piece)
                await asyncio.sleep(0)
            if end is not None:
                await end(request, response)
            return response

        self.answer = answer

    async def _nothing(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({})


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    """Run a model API."""
    fake = FakeApi()
    async with served(fake.handle, handler_cancellation=True) as fake.base_url:
        yield fake


@pytest.fixture
async def upstream(api: FakeApi) -> AsyncIterator[GeminiUpstream]:
    """Return an upstream that calls it."""
    options = GeminiOptions(base_url=api.base_url, api_keys=(KEY,), merge_deltas=False)
    made = GeminiUpstream(options, SystemClock())
    yield made
    await made.aclose()


@pytest.fixture
def call() -> Call:
    """Return a call without a deadline."""
    return Call(method="/test", execution="e1", arrived=0.0)
