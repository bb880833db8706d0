"""Free JSON to the letter through the real server: kept, shared, resumed, and sent back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest_asyncio
from aiohttp import web

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import session_service_pb2_grpc as session_rpc
from tests.support.layers.inproc import collect
from tests.support.servers.conversations import create
from tests.support.servers.http_api import served
from tests.support.servers.process import serving, upstream_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

ARGS = '{"z":1.0,"id":9007199254740993,"a":[18446744073709551616, 1e400],"t":"caf\\u00e9"}'
NEW = '{"n":9007199254740993,"x":1.50}'
CALL = f'{{"functionCall":{{"name":"look","args":{ARGS}}},"thoughtSignature":"AAE=","new":{NEW}}}'
ANSWER = (
    f'{{"candidates":[{{"content":{{"parts":[{CALL}],"role":"model","own":{NEW}}},'
    f'"finishReason":"STOP","index":0,"beside":{NEW}}}],"modelVersion":"m-1","top":{NEW}}}'
)
SETTLED = content.GenerationConfig(temperature=0)
KEEP = pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)


class Api:
    """A model API that always gives the same answer, and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append((await request.read()).decode())
        await self.gate.wait()
        if "stream" in request.path:
            body, kind = f"data: {ANSWER}\r\n\r\n", "text/event-stream"
        else:
            body, kind = ANSWER, "application/json"
        return web.Response(body=body.encode(), content_type=kind)


class Desk:
    """The model API, and stubs of the server before it."""

    def __init__(self, api: Api, channel: grpc.aio.Channel) -> None:
        self.api = api
        self.execute: Any = rpc.ExecuteServiceStub(channel)
        self.sessions: Any = session_rpc.SessionServiceStub(channel)


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    """A server of its own for each test."""
    api = Api()
    async with (
        served(api.answer, "POST") as url,
        serving(upstream_at(url)) as server,
        grpc.aio.insecure_channel(server.grpc) as channel,
    ):
        yield Desk(api, channel)


def exact(events: Sequence[pb.ExecuteResponse]) -> None:
    """Hold a stream against what the model API said."""
    deltas = [event.delta for event in events if event.HasField("delta")]
    (part,) = [part for delta in deltas for part in delta.parts]
    assert (ARGS, f'{{"new":{NEW}}}') == (part.function_call.args_json, part.extra_json)
    assert f'{{"beside":{NEW},"content":{{"own":{NEW}}}}}' == deltas[-1].extra_json
    assert f'{{"top":{NEW}}}' == deltas[-1].response_extra_json


def exact_whole(response: pb.ProcessResponse) -> None:
    """Hold a whole answer against what the model API said."""
    (candidate,) = response.candidates
    (part,) = candidate.content.parts
    assert (ARGS, f'{{"new":{NEW}}}') == (part.function_call.args_json, part.extra_json)
    assert f'{{"own":{NEW}}}' == candidate.content.extra_json
    assert f'{{"beside":{NEW}}}' == candidate.extra_json
    assert f'{{"top":{NEW}}}' == response.extra_json


async def test_streams_and_whole_answers_and_batches(desk: Desk) -> None:
    """Execute, Process and BatchExecute give the same texts."""
    exact(await collect(desk.execute.Execute(pb.ExecuteRequest(prompt="a"))))
    exact_whole(await desk.execute.Process(pb.ProcessRequest(prompt="b")))
    items = [pb.ExecuteRequest(prompt="c")]
    (result,) = await collect(desk.execute.BatchExecute(pb.BatchExecuteRequest(items=items)))
    exact_whole(result.response)


async def test_kept_answers(desk: Desk) -> None:
    """A hit has them too, whichever way the answer was asked for, and is asked for again."""
    for prompt, first in (("a", desk.execute.Execute), ("b", desk.execute.Process)):
        request = pb.ExecuteRequest(prompt=prompt, generation_config=SETTLED)
        whole = pb.ProcessRequest(prompt=prompt, generation_config=SETTLED)
        if first == desk.execute.Execute:
            await collect(first(request))
        else:
            await first(whole)
        asked = len(desk.api.bodies)
        events = await collect(desk.execute.Execute(request))
        response = await desk.execute.Process(whole)
        assert pb.CACHE_STATUS_HIT == events[0].started.cache_status
        assert pb.CACHE_STATUS_HIT == response.started.cache_status
        exact(events)
        exact_whole(response)
        assert asked == len(desk.api.bodies)


async def test_shared_runs(desk: Desk) -> None:
    """Whoever joins an execution under way is given the same texts."""
    desk.api.gate.clear()
    request = pb.ExecuteRequest(prompt="shared", generation_config=SETTLED)
    streams = [asyncio.ensure_future(collect(desk.execute.Execute(request))) for _ in range(4)]
    while not desk.api.bodies:
        await asyncio.sleep(0.01)
    desk.api.gate.set()
    for events in await asyncio.gather(*streams):
        exact(events)
    assert 1 == len(desk.api.bodies)


async def test_resumed_executions(desk: Desk) -> None:
    """What the journal gives once more is what was given before."""
    request = pb.ExecuteRequest(prompt="kept", on_disconnect=KEEP)
    events = await collect(desk.execute.Execute(request))
    resume = pb.Resume(execution=events[0].execution)
    again = await collect(desk.execute.Execute(pb.ExecuteRequest(resume=resume)))
    exact(again)
    assert events == again


async def test_sessions_send_back_what_came(desk: Desk) -> None:
    """A turn of the model's goes back to it to the letter, and so does the caller's result."""
    for name, whole in (("streamed", False), ("whole", True)):
        session = await create(desk.sessions, name)
        await _said(desk, pb.ExecuteRequest(prompt="look", session=session), whole=whole)
        result = content.FunctionResponse(name="look", response_json=ARGS)
        turn = content.Content(parts=[content.Part(function_response=result)])
        await _said(desk, pb.ExecuteRequest(contents=[turn], session=session), whole=whole)
        sent = desk.api.bodies[-1]
        assert f'"functionCall":{{"name":"look","args":{ARGS}}}' in sent
        assert f'"thoughtSignature":"AAE=","new":{NEW}' in sent
        assert f'"own":{NEW}' in sent
        assert f'"functionResponse":{{"name":"look","response":{ARGS}}}' in sent


async def _said(desk: Desk, request: pb.ExecuteRequest, *, whole: bool) -> None:
    if whole:
        await desk.execute.Process(pb.ProcessRequest.FromString(request.SerializeToString()))
    else:
        await collect(desk.execute.Execute(request))
