"""Limits of the gRPC port: connections, streams, calls of one peer, idle and silent clients."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest

from gemini.backend.v1 import config_service_pb2 as config
from gemini.backend.v1 import config_service_pb2_grpc as config_rpc
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.e2e.hardening.raw_callers import EXECUTE, PROMPT, gauge, raw_caller
from tests.support import http2_frames as h2
from tests.support.messages.failures import failure_of
from tests.support.servers.process import Process, serving, started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PREFIX = "GEMINI_BACKEND_SERVER__"
OWN = [("grpc.use_local_subchannel_pool", 1)]
HI = pb.ProcessRequest(prompt="hi")
ENHANCE_YOUR_CALM = 11


def with_server(**settings: float) -> Any:
    """Run a server with settings of the section `server`."""
    return serving({f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()})


def channel(server: Process) -> grpc.aio.Channel:
    """Return a channel with a connection of its own."""
    return grpc.aio.insecure_channel(server.grpc, options=OWN)


async def ask(opened: grpc.aio.Channel) -> bool:
    """Return whether a call is answered."""
    stub: Any = rpc.ExecuteServiceStub(opened)
    try:
        answer = await stub.Process(HI, timeout=5)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.candidates)


async def page(server: Process, path: str) -> str:
    """Return a page."""
    async with aiohttp.ClientSession() as session, session.get(server.web + path) as answer:
        return await answer.text()


async def test_connections_beyond_the_limit_are_closed_and_the_others_live() -> None:
    """With few descriptors, idle connections cannot take them all: health says what is full."""
    serve = "serve --listen 127.0.0.1:0 --web-listen 127.0.0.1:0"
    command = f"ulimit -n 256; exec {sys.executable} -m gemini_backend {serve}"
    async with started("bash", "-c", command) as server, AsyncExitStack() as stack:
        early = await stack.enter_async_context(channel(server))
        assert await ask(early)
        callers = [await stack.enter_async_context(raw_caller(server.grpc)) for _ in range(250)]
        await asyncio.sleep(0.5)
        assert 250 - 127 == sum(one.closed.is_set() for one in callers)
        assert await ask(early)
        async with channel(server) as late:
            assert not await ask(late)
        async with asyncio.timeout(20):
            while gauge(await page(server, "/metrics"), "grpc_connections") < 128:
                await asyncio.sleep(0.5)
        assert "raise server.max_connections" in await page(server, "/readyz")
        for one in callers:
            one.writer.close()
        await asyncio.sleep(1)
        async with channel(server) as late:
            assert await ask(late)


async def test_thousands_of_idle_connections(server: Process) -> None:
    """They cost a few kilobytes each, and delay nobody's calls."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many, before = int(os.environ.get("IDLE_CONNECTIONS", "1000")), server.resident_kib()
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(channel(server))
        for _ in range(many):
            await stack.enter_async_context(raw_caller(server.grpc))
        assert await ask(opened)
        assert (server.resident_kib() - before) / many < 64


@pytest.fixture
async def impatient() -> AsyncIterator[Process]:
    """A server with little patience."""
    async with with_server(handshake_timeout_seconds=0.5, max_connection_idle_seconds=1) as server:
        yield server


@pytest.mark.parametrize("first", [b"", h2.PREFACE[:10], h2.PREFACE, b"GET / HTTP/1.1\r\n"])
async def test_who_does_not_begin_is_cut_off(impatient: Process, first: bytes) -> None:
    """Nothing, half of the beginning, or another protocol: closed after the time for handshakes."""
    async with raw_caller(impatient.grpc, first) as caller:
        assert await caller.gone(3)
        assert not caller.frames(h2.HEADERS)


async def test_an_idle_connection_is_closed_and_comes_back(impatient: Process) -> None:
    """A connection without calls is closed with a GOAWAY; a client's next call makes a new one."""
    async with channel(impatient) as opened, raw_caller(impatient.grpc) as caller:
        assert await ask(opened)
        assert await caller.gone(5)
        assert caller.frames(h2.GOAWAY)
        assert await ask(opened)


BEGUN = h2.opening() + h2.settings(flags=h2.ACK)


@pytest.mark.parametrize(
    "rest",
    [b"", h2.headers(1, h2.request(EXECUTE))[:20], h2.headers(1, h2.request(EXECUTE), whole=False)],
    ids=["nothing", "half a frame", "half of the headers"],
)
async def test_who_answers_no_ping_is_closed(rest: bytes) -> None:
    """Whoever stops, be it within a frame, holds a connection no longer than keepalive allows."""
    settings = {"keepalive_time_seconds": 1, "keepalive_timeout_seconds": 1}
    async with with_server(**settings) as server, raw_caller(server.grpc, BEGUN + rest) as caller:
        assert await caller.gone(5)
        assert b"ping_timeout" in caller.frames(h2.GOAWAY)[0][1]


async def test_streams_beyond_the_limit_of_a_connection() -> None:
    """A client holds them back until others have ended; one that does not is refused them."""
    async with with_server(max_streams_per_connection=3) as server:
        async with channel(server) as opened:
            assert all(await asyncio.gather(*(ask(opened) for _ in range(12))))
        async with raw_caller(server.grpc) as caller:
            for stream in range(1, 21, 2):
                await caller.send(h2.headers(stream, h2.request(EXECUTE)))
            await asyncio.sleep(0.5)
            codes = [int.from_bytes(code, "big") for _, code in caller.frames(h2.RST_STREAM)]
            assert [ENHANCE_YOUR_CALM] * 7 == codes


async def watching(opened: grpc.aio.Channel) -> Any:
    """Begin a call that lasts, and wait until it has begun."""
    stub: Any = config_rpc.ConfigServiceStub(opened)
    call = stub.WatchConfig(config.WatchConfigRequest())
    await call.read()
    return call


async def test_one_peer_has_its_number_of_calls() -> None:
    """Calls of one address over all of its connections are counted; the next one is refused."""
    async with with_server(max_rpcs_per_peer=2) as server, AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(channel(server)) for _ in range(3)]
        calls = [await watching(one) for one in opened[:2]]
        stub: Any = rpc.ExecuteServiceStub(opened[2])
        failed = await failure_of(stub.Process(HI, timeout=5))
        assert (grpc.StatusCode.RESOURCE_EXHAUSTED, "POLICY_OVERLOADED") == (
            failed.code,
            failed.reason,
        )
        assert "server.max_rpcs_per_peer" in failed.message
        calls[0].cancel()
        await asyncio.sleep(0.3)
        assert await ask(opened[2])


async def test_calls_have_a_grace_when_their_connection_is_old() -> None:
    """At its age a connection takes no more calls; after the grace those that run are ended."""
    settings = {"max_connection_age_seconds": 1, "max_connection_age_grace_seconds": 1}
    async with with_server(**settings) as server, channel(server) as opened:
        call = await watching(opened)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            async with asyncio.timeout(6):
                while True:
                    await call.read()
        assert grpc.StatusCode.UNAVAILABLE == ended.value.code()
        assert await ask(opened)


async def test_a_reader_who_never_reads_is_ended_by_his_deadline(server: Process) -> None:
    """Without a window nothing is sent, memory stays bounded, and the call ends at its deadline."""
    before = server.resident_kib()
    fields = h2.request(EXECUTE, **{"grpc-timeout": "1S"})
    async with raw_caller(server.grpc, h2.opening({h2.INITIAL_WINDOW_SIZE: 0})) as caller:
        for stream in range(1, 401, 2):
            await caller.send(h2.headers(stream, fields) + h2.message(stream, PROMPT))
        await asyncio.sleep(3)
        assert [] == [one for one in caller.frames(h2.DATA) if one[1]]
        ended = {stream for stream, _ in caller.frames(h2.RST_STREAM)}
        ended |= {s for s, data in caller.frames(h2.HEADERS) if b"grpc-status" in data}
        assert {*range(1, 401, 2)} == ended
    assert (server.resident_kib() - before) / 1024 < 40
