"""Upstreams that cannot be had: each in its own way, typed, with the fix in the message."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.layers.inproc import collect
from tests.support.messages.failures import Failure, failure_of
from tests.support.servers.process import AS_IT_COMES, serving, simulating, upstream_at
from tests.support.upstreams.raw_upstreams import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

UNAVAILABLE, TOO_LATE = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
HELLO = pb.ExecuteRequest(prompt="hi")


@asynccontextmanager
async def asking(env: dict[str, str]) -> AsyncIterator[Any]:
    """Run a server with this environment; yield a stub."""
    async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        yield rpc.ExecuteServiceStub(channel)


async def failures(stub: Any, request: pb.ExecuteRequest = HELLO) -> list[Failure]:
    """Ask for the same thing as a stream, as a whole, and for its count."""
    data = request.SerializeToString()
    counted = pb.CountTokensRequest(
        prompt=request.prompt, model=request.model, counting=pb.TOKEN_COUNTING_UPSTREAM
    )
    return [
        await failure_of(collect(stub.Execute(request))),
        await failure_of(stub.Process(pb.ProcessRequest.FromString(data))),
        await failure_of(stub.CountTokens(counted)),
    ]


async def test_nobody_listens() -> None:
    """A closed port is UPSTREAM_UNREACHABLE, at once, with the address and what to check."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        address = f"127.0.0.1:{held.getsockname()[1]}"
    async with asking(upstream_at(f"http://{address}", **AS_IT_COMES)) as stub:
        for failed in await failures(stub):
            assert (UNAVAILABLE, "UPSTREAM_UNREACHABLE") == (failed.code, failed.reason)
            assert "127.0.0.1" in failed.message
            assert "upstream.gemini.base_url" in failed.message


async def test_a_host_that_does_not_exist() -> None:
    """A name that does not resolve is UPSTREAM_UNREACHABLE."""
    async with asking(upstream_at("http://no-such-host.invalid", **AS_IT_COMES)) as stub:
        failed = await failure_of(collect(stub.Execute(HELLO)))
    assert (UNAVAILABLE, "UPSTREAM_UNREACHABLE") == (failed.code, failed.reason)


async def test_an_upstream_that_never_answers() -> None:
    """Accepted and then silence: the first token's time, or the deadline, ends the wait."""

    async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with listening(silent) as url, asking(upstream_at(url, **AS_IT_COMES)) as stub:
        request = pb.ExecuteRequest(prompt="hi", first_token_timeout=Duration(nanos=200_000_000))
        failed = await failure_of(collect(stub.Execute(request, timeout=10)))
        assert (TOO_LATE, "UPSTREAM_FIRST_TOKEN_TIMEOUT") == (failed.code, failed.reason)
        assert "first_token_timeout" in failed.message
        late = await failure_of(stub.Process(pb.ProcessRequest(prompt="hi"), timeout=0.3))
        assert TOO_LATE == late.code


async def test_an_upstream_that_speaks_something_else() -> None:
    """Bytes that are no HTTP are UPSTREAM_MALFORMED_ANSWER, not a defect of ours."""

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()

    async with listening(shout) as url, asking(upstream_at(url, **AS_IT_COMES)) as stub:
        for failed in await failures(stub):
            assert "UPSTREAM_MALFORMED_ANSWER" == failed.reason


async def test_a_refused_key() -> None:
    """FAILED_PRECONDITION and UPSTREAM_KEY_REFUSED; the key itself is nowhere."""
    async with simulating("--api-key", "another") as upstream:
        env = upstream_at(upstream.http, GEMINI_API_KEY="wrong-secret", **AS_IT_COMES)
        async with asking(env) as stub:
            for failed in await failures(stub):
                assert (PRECONDITION, "UPSTREAM_KEY_REFUSED") == (failed.code, failed.reason)
                assert "upstream.gemini.api_keys" in failed.message
                assert "wrong-secret" not in str(failed.status)


async def test_no_key_and_an_address_of_ones_own() -> None:
    """No simulator steps in; each call says which setting is missing."""
    async with simulating() as upstream:
        env = {"GEMINI_BACKEND_UPSTREAM__GEMINI__BASE_URL": upstream.http}
        async with asking(env) as stub:
            for failed in await failures(stub):
                assert (PRECONDITION, "BACKEND_NO_UPSTREAM_KEY") == (failed.code, failed.reason)
                assert "GEMINI_API_KEY" in failed.message


@pytest.mark.parametrize("path", ["/nothing/here", "/v1beta"])
async def test_an_address_with_a_wrong_path(path: str) -> None:
    """A page that is not the API is told as what it is, and points at the address."""
    async with (
        simulating() as upstream,
        asking(upstream_at(upstream.http + path, **AS_IT_COMES)) as stub,
    ):
        failed = await failure_of(collect(stub.Execute(HELLO)))
        assert failed.reason.startswith("UPSTREAM_")
        assert "upstream.gemini.base_url" in failed.message
