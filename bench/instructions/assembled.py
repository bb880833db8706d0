"""The whole server in this process, in front of an upstream that is real, or plays a script."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import grpc

from bench.instructions.door import Door, NoTransport
from gemini.backend.v1 import content_pb2
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend import app
from gemini_backend.config import read
from gemini_backend.policies.chain import Chain
from gemini_backend.telemetry.logs.log_writer import LogWriter
from gemini_backend.upstream.factory import make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

EDGE = ("tracing", "edge")
# where trees of different ages put the chain before the services
_PLACES = (
    "gemini_backend.composition.doors.mounted_services",
    "gemini_backend.composition.grpc_server",
)


def _place() -> Any:
    """Return the module that mounts the chain."""
    rooms = find_spec("gemini_backend.composition.doors")
    return import_module(_PLACES[0] if rooms is not None else _PLACES[1])


grpc_server = _place()


class Scripted:
    """Answers like an upstream, at once, from messages that were made before.

    Each event of a stream is waited for, as one that comes from a socket is.
    """

    def __init__(self, real: Any) -> None:
        """Leave all but the two calls to the real upstream."""
        self._real = real
        content = content_pb2.Content(role="model", parts=[content_pb2.Part(text="said " * 80)])
        stop = content_pb2.FINISH_REASON_STOP
        self._usage = content_pb2.Usage(
            prompt_token_count=12, candidates_token_count=64, total_token_count=76
        )
        self._whole = pb.ProcessResponse(
            candidates=[content_pb2.Candidate(content=content, finish_reason=stop)],
            started=pb.Started(model_version="bench"),
            usage=self._usage,
        )

    def __getattr__(self, name: str) -> Any:
        """Leave the rest to the real upstream."""
        return getattr(self._real, name)

    async def process(self, _call: Any, _request: Any) -> pb.ProcessResponse:
        """Return a copy, since layers write into it."""
        await _later()
        answer = pb.ProcessResponse()
        answer.CopyFrom(self._whole)
        return answer

    async def stream(self, _call: Any, request: Any) -> AsyncIterator[pb.ExecuteResponse]:
        """Yield as many deltas as the model's name says."""
        await _later()
        yield pb.ExecuteResponse(started=pb.Started(model_version="bench"))
        for _ in range(int(request.model.rpartition("x")[2])):
            part = content_pb2.Part(text=" the river carries the light")
            yield pb.ExecuteResponse(delta=pb.Delta(parts=[part], usage=self._usage))
            await _later()
        stop = content_pb2.FINISH_REASON_STOP
        yield pb.ExecuteResponse(completed=pb.Completed(finish_reason=stop))


def _asked_for_each_call(interceptors: Any, services: Any) -> Any:
    """Mount as trees do that know no other way: grpc.aio asks the interceptors for each call."""
    return interceptors, services


_mount: Any = getattr(grpc_server, "mount", _asked_for_each_call)


async def _later() -> None:
    """Wait for another turn of the loop, by a future, as reading a socket does."""
    loop = asyncio.get_running_loop()
    come = loop.create_future()
    loop.call_soon(come.set_result, None)
    await come


class Assembled:
    """The server's parts, of which doors with less in them can be made.

    Attributes:
        layers: names of the layers that are mounted, without the edge, outermost first.
    """

    def __init__(self, server: NoTransport, chain: Chain, upstream: Any) -> None:
        """Take what was put together."""
        self._server, self._chain, self._upstream = server, chain, upstream
        mounted = [row.name for row in chain if row.layer is not None]
        self.layers = [name for name in mounted if name not in EDGE]

    def door(self, keep: Callable[[str], bool] = lambda _: True) -> Door:
        """Return a door with those rows of the chain whose names are kept."""
        kept = [row for row in self._chain if keep(row.name)]
        asked, served = _mount(grpc_server.interceptors(Chain(kept)), self._server.handlers)
        server = NoTransport()
        server.add_generic_rpc_handlers(served)
        return Door(server, asked)

    def bare(self) -> Door:
        """Return a door that only reads the request, calls the upstream and writes the answer."""
        bare = NoTransport()
        bare.add_generic_rpc_handlers([_Bare(self._server, self._upstream)])
        return Door(bare, [])


class _Bare:
    """In place of the service: the same messages and method kinds, and the upstream at once."""

    def __init__(self, server: NoTransport, upstream: Any) -> None:
        self._server, self._upstream = server, upstream

    def service(self, details: Any) -> Any:
        """Return a handler that calls the upstream for each request."""
        if details.method.endswith("/Process"):
            return grpc.unary_unary_rpc_method_handler(
                self._process, pb.ExecuteRequest.FromString, pb.ProcessResponse.SerializeToString
            )
        return grpc.unary_stream_rpc_method_handler(
            self._execute, pb.ExecuteRequest.FromString, pb.ExecuteResponse.SerializeToString
        )

    async def _process(self, request: Any, _: Any) -> Any:
        return await self._upstream.process(None, request)

    async def _execute(self, request: Any, _: Any) -> Any:
        async for event in self._upstream.stream(None, request):
            yield event


async def assembled(*, scripted: bool) -> Assembled:
    """Put the server together as its environment configures it; nothing is opened."""
    chains: list[Chain] = []
    servers: list[NoTransport] = []
    listed, make_server = grpc_server.interceptors, grpc.aio.server

    def noting(chain: Chain) -> list[Any]:
        chains.append(chain)
        return listed(chain)

    def without_transport(*arguments: Any, **options: Any) -> Any:
        servers.append(NoTransport(*arguments, **options))
        return servers[-1]

    settings = read(None, os.environ, {"server.reflection": False})
    provider = await make(settings.config)
    upstreams: list[Any] = []

    def connected(*parts: Any) -> Any:
        real = connect(*parts)
        upstreams.append(Scripted(real) if scripted else real)
        return upstreams[-1]

    connect = provider.connect
    provider = replace(provider, connect=connected)
    grpc_server.interceptors, grpc.aio.server = noting, without_transport
    grpc_server.mount = _asked_for_each_call
    try:
        app.Backend(settings, os.environ, LogWriter(), provider)
    finally:
        grpc_server.interceptors, grpc.aio.server = listed, make_server
        grpc_server.mount = _mount
    return Assembled(servers[0], chains[0], upstreams[0])
