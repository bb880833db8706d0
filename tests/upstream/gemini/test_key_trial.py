"""A refusal that does not say whose fault it is: the key is tried apart.

Covers: upstream/gemini/failure/unexplained.py
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.call import UpstreamKey
from gemini_backend.errors import (
    KeyRefused,
    ProjectRefused,
    RefusedByModelApi,
    ServiceError,
    UnknownResource,
    UpstreamUnavailable,
)
from gemini_backend.upstream.base import EmbedBatch
from gemini_backend.upstream.gemini.key_trial import KeyTrial
from tests.support.clock import FakeClock, settle

if TYPE_CHECKING:
    from gemini_backend.call import Call
    from gemini_backend.upstream.gemini import GeminiUpstream
    from tests.upstream.gemini.conftest import FakeApi

KEY = UpstreamKey("id", "p")
REQUEST = pb.ExecuteRequest(prompt="hi", model="models/m")
DENIED = {"error": {"code": 403, "message": "Denied.", "status": "PERMISSION_DENIED"}}


class Door:
    """Refuses a key's trial, or takes it; after some seconds."""

    def __init__(self, clock: FakeClock, error: ServiceError | None, seconds: float = 0) -> None:
        self.clock, self.error, self.seconds = clock, error, seconds
        self.tried = 0

    async def send(self, _key: UpstreamKey) -> None:
        self.tried += 1
        if self.seconds:
            await self.clock.sleep(self.seconds)
        if self.error is not None:
            raise self.error


async def test_a_trial_holds_for_half_a_minute(clock: FakeClock) -> None:
    """However many calls are refused."""
    for error in (KeyRefused("no"), ProjectRefused("no"), None):
        door = Door(clock, error)
        trial = KeyTrial(door.send, clock)
        assert [error] * 3 == [await trial.refusal(KEY) for _ in range(3)]
        await clock.advance(29)
        await trial.refusal(KEY)
        assert 1 == door.tried
        await clock.advance(2)
        await trial.refusal(KEY)
        assert 2 == door.tried


async def test_calls_at_once_share_a_trial(clock: FakeClock) -> None:
    """One request for all; who leaves does not end it for the others."""
    door = Door(clock, KeyRefused("no"), seconds=1)
    trial = KeyTrial(door.send, clock)
    waiting = [asyncio.ensure_future(trial.refusal(KEY)) for _ in range(3)]
    await settle()
    waiting[0].cancel()
    await clock.advance(1)
    assert [door.error] * 2 == await asyncio.gather(*waiting[1:])
    assert 1 == door.tried
    await trial.aclose()


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (UpstreamUnavailable("busy"), 0),
        (None, 60),
        (KeyRefused("x", metadata={"upstream_reason": "API_KEY_SERVICE_BLOCKED"}), 0),
    ],
)
async def test_what_decides_nothing_speaks_for_the_key(
    clock: FakeClock, error: ServiceError | None, seconds: float
) -> None:
    """It is tried again a few seconds later."""
    door = Door(clock, error, seconds)
    trial = KeyTrial(door.send, clock)
    for count in (1, 2):
        task = asyncio.ensure_future(trial.refusal(KEY))
        await clock.advance(5.1)
        assert await task is None
        assert count == door.tried
        await clock.advance(5.1)


async def test_a_trial_under_way_is_ended(clock: FakeClock) -> None:
    """Nothing is left behind."""
    trial = KeyTrial(Door(clock, None, seconds=3).send, clock)
    task = asyncio.ensure_future(trial.refusal(KEY))
    await settle()
    await trial.aclose()
    with pytest.raises(asyncio.CancelledError):
        await task


def answers(api: FakeApi, refusal: dict[str, Any], *, listed: dict[str, Any] | None) -> None:
    """Refuse every call of a model; refuse or give the list of models."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "GET" and listed is None:
            return web.json_response({"models": []})
        found = listed if request.method == "GET" and listed is not None else refusal
        return web.json_response(found, status=found["error"]["code"])

    api.answer = answer


def gets(api: FakeApi) -> int:
    """Return how many lists were asked for."""
    return sum(request.method == "GET" for request in api.requests)


INVALID = {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}


@pytest.mark.parametrize(
    ("listed", "kind"),
    [(None, RefusedByModelApi), (INVALID, KeyRefused), (DENIED, ProjectRefused)],
)
async def test_a_bare_refusal_is_what_the_trial_shows(
    api: FakeApi, upstream: GeminiUpstream, call: Call, listed: Any, kind: type[ServiceError]
) -> None:
    """The caller's where the key is taken otherwise, else the key's; whole, streamed, embedded."""
    answers(api, DENIED, listed=listed)

    async def stream() -> None:
        async for _ in upstream.stream(call, REQUEST):
            pass

    one = pb.EmbedRequest(contents=[content.Content(parts=[content.Part(text="t")])])
    for ask in (
        upstream.process(call, REQUEST),
        stream(),
        upstream.count_tokens(call, pb.CountTokensRequest(model="models/m", prompt="hi")),
        upstream.embed(call, EmbedBatch("models/e", [one])),
    ):
        with pytest.raises(ServiceError) as refused:
            await ask
        assert kind is type(refused.value)
        assert "Denied" in refused.value.message
        assert refused.value.upstream is not None
        assert kind is type(call.outcome.attempts[-1].error)
    assert 1 == gets(api)


async def test_a_request_that_names_a_file_is_the_first_suspect(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """Without a trial."""
    answers(api, DENIED, listed=INVALID)
    request = pb.ExecuteRequest(model="models/m", cached_content="cachedContents/x")
    with pytest.raises(UnknownResource, match="check the names of the files"):
        await upstream.process(call, request)
    assert 0 == gets(api)


async def test_an_error_within_a_stream_is_judged_alike(
    api: FakeApi, upstream: GeminiUpstream, call: Call
) -> None:
    """A refusal may stand in an answer with status 200."""

    async def answer(request: web.Request) -> web.Response:
        found = {"models": []} if request.method == "GET" else DENIED
        return web.Response(body=json.dumps(found), content_type="application/json")

    api.answer = answer
    with pytest.raises(RefusedByModelApi):
        await upstream.process(call, REQUEST)
    with pytest.raises(RefusedByModelApi):
        async for _ in upstream.stream(call, REQUEST):
            pass
    assert 1 == gets(api)
