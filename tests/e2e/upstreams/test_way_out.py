"""The way to the model API: a proxy, authorities of one's own, and what is said of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.messages.failures import failure_of
from tests.support.servers.process import AS_IT_COMES, Process, run_backend, serving, upstream_at
from tests.upstream.gemini.connection.dialing.far_ends import authority, identity
from tests.upstream.gemini.connection.test_desync import answer_to, request_of
from tests.upstream.gemini.connection.test_proxy import encrypted, proxying

if TYPE_CHECKING:
    from pathlib import Path

API = "https://api.test"
CA_FILE = "GEMINI_BACKEND_UPSTREAM__GEMINI__CA_FILE"
PROXY_URL = "GEMINI_BACKEND_UPSTREAM__GEMINI__PROXY_URL"
PORTS = {
    "GEMINI_BACKEND_SERVER__LISTEN": "127.0.0.1:0",
    "GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0",
}


async def ask(server: Process, number: int, model: str = "m") -> str:
    """Ask for a whole answer."""
    async with grpc.aio.insecure_channel(server.grpc) as channel:
        stub: Any = rpc.ExecuteServiceStub(channel)
        response = await stub.Process(pb.ProcessRequest(prompt=f"number {number}", model=model))
    return "".join(part.text for part in response.candidates[0].content.parts)


async def logged(server: Process, event: str) -> list[dict[str, Any]]:
    """End the server; return the lines of this name in its log."""
    await server.stop()
    lines = [json.loads(line) for line in server.log().splitlines()]
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", PROXY_URL])
async def test_the_proxy_of_the_environment_is_used(tmp_path: Path, variable: str) -> None:
    """It is told of at the start, by its host; the password is told of nowhere."""
    async with encrypted(tmp_path) as (port, requests), proxying(port) as proxy:
        env = {
            **upstream_at(API, **AS_IT_COMES),
            CA_FILE: str(tmp_path / "ca.pem"),
            variable: f"http://user:p%40ss@127.0.0.1:{proxy.port}",
        }
        async with serving(env) as server:
            assert "1" == await ask(server, 1)
            assert 1 == len([line for line in requests if b":generateContent" in line])
            (line,) = await logged(server, "upstream_proxy")
            assert f"http://127.0.0.1:{proxy.port}" == line["proxy"]
            assert "p%40ss" not in server.log()


async def test_a_tls_session_is_taken_up_again(tmp_path: Path) -> None:
    """By the next connection of the server, as the other side counts."""
    resumed: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        resumed.append(writer.get_extra_info("ssl_object").session_reused)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while request := await request_of(reader):
                writer.write(answer_to(request))
        writer.transport.abort()

    context = identity(authority(tmp_path), "localhost")
    api = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    env = {
        **upstream_at(f"https://localhost:{api.sockets[0].getsockname()[1]}", **AS_IT_COMES),
        CA_FILE: str(tmp_path / "ca.pem"),
        "GEMINI_BACKEND_UPSTREAM__HTTP_CLIENT": "asyncio",
        "GEMINI_BACKEND_UPSTREAM__GEMINI__KEEPALIVE_SECONDS": "0",
    }
    async with serving(env) as server:
        for number in range(3):
            assert str(number) == await ask(server, number)
        assert [True, True] == resumed[-2:]
    api.close()


async def test_no_proxy_leads_past_the_proxy() -> None:
    """As everywhere."""
    async with proxying() as direct, proxying() as proxy:
        env = {
            **upstream_at(f"http://127.0.0.1:{direct.port}", **AS_IT_COMES),
            "HTTP_PROXY": f"http://127.0.0.1:{proxy.port}",
            "NO_PROXY": "localhost,127.0.0.0/8",
        }
        async with serving(env) as server:
            assert "1" == await ask(server, 1)
            assert [] == await logged(server, "upstream_proxy")
        assert [] == proxy.heads


async def test_a_proxy_that_refuses_is_named_and_not_asked_again() -> None:
    """One attempt, the proxy's host in words, no password."""
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
    async with proxying(refusal=refusal) as proxy:
        env = {**upstream_at(API), "HTTPS_PROXY": f"http://user:p%40ss@127.0.0.1:{proxy.port}"}
        async with serving(env) as server:
            failure = await failure_of(ask(server, 1))
            assert "UPSTREAM_UNREACHABLE" == failure.reason
            assert f"http://127.0.0.1:{proxy.port} refuses the connection" in failure.message
            assert 1 == len(failure.execution.attempts)
            assert "p%40ss" not in server.log() + failure.message


@pytest.mark.parametrize(
    ("env", "fix"),
    [
        ({"ALL_PROXY": "socks5://user:p%40ss@127.0.0.1:1080"}, "upstream.gemini.proxy_url"),
        ({PROXY_URL: "http://user:p%40ss@127.0.0.1:x"}, "upstream.gemini.proxy_url"),
        ({CA_FILE: "/nowhere/ca.pem"}, "upstream.gemini.ca_file"),
    ],
)
async def test_a_way_out_that_cannot_be_is_refused_at_the_start(
    env: dict[str, str], fix: str
) -> None:
    """By the server and by the doctor, with the setting to change."""
    served = await run_backend("serve", env={**upstream_at(API), **PORTS, **env})
    assert (2, True) == (served.code, fix in served.stderr)
    seen = await run_backend("doctor", env={**upstream_at(API), **PORTS, **env})
    assert (1, True) == (seen.code, fix in seen.stderr)
    assert "p%40ss" not in served.stderr + seen.stderr


async def test_the_simulator_needs_no_way_out() -> None:
    """Whatever proxies there are, it stands on this machine."""
    async with serving({"ALL_PROXY": "socks5://127.0.0.1:1"}) as server:
        assert await ask(server, 1, "gemini-flash-latest")


async def test_the_doctor_tells_of_the_proxy(tmp_path: Path) -> None:
    """Its host; and asks the model API through it."""
    async with encrypted(tmp_path) as (port, _), proxying(port) as proxy:
        address = f"http://127.0.0.1:{proxy.port}"
        env = {
            **upstream_at(API, **PORTS),
            CA_FILE: str(tmp_path / "ca.pem"),
            "HTTPS_PROXY": address,
            "GEMINI_BACKEND_EXECUTION__DEFAULT_MODEL": "a",
        }
        seen = await run_backend("doctor", env=env)
        assert (0, True) == (seen.code, f"through the proxy at {address}" in seen.stdout)
        assert 1 == len(proxy.heads)
