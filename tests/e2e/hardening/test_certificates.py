"""Certificates are replaced while the server runs; handshakes that fail are counted and logged.

Covers: composition/ports.py, rpc/listening/core_connections.py,
rpc/listening/credentials.py
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import ssl
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import trustme

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from gemini.backend.v1 import health_service_pb2 as health
from gemini.backend.v1 import health_service_pb2_grpc as health_rpc
from tests.e2e.hardening.raw_callers import raw_caller
from tests.support.pki import issue, write
from tests.support.servers.process import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.support.servers.process import Process


@dataclass
class Site:
    """The files of a server with mutual TLS on both ports, and who may connect to it."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)
    clients: trustme.CA = field(default_factory=trustme.CA)

    def write(self) -> dict[str, str]:
        """Write the files; return the environment."""
        files = write(self.folder, issue(self.authority))
        ca = self.folder / "clients.pem"
        self.clients.cert_pem.write_to_path(ca)
        named = {**files, "tls_client_ca_file": str(ca), "tls_reload_seconds": "0.2"}
        settings = {f"GEMINI_BACKEND_SERVER__{key.upper()}": named[key] for key in named}
        return {
            **settings,
            "GEMINI_BACKEND_SERVER__HANDSHAKE_TIMEOUT_SECONDS": "1",
            "GEMINI_BACKEND_WEB__HEAD_TIMEOUT_SECONDS": "1",
            "GEMINI_BACKEND_WEB__TLS": "true",
            "GEMINI_BACKEND_AUTH__MTLS__DEFAULT_ROLE": "admin",
        }

    def channel(self, server: Process, clients: trustme.CA | None = None) -> grpc.aio.Channel:
        """Return a channel of its own connection."""
        pair = (clients or self.clients).issue_cert("client@example.com")
        credentials = grpc.ssl_channel_credentials(
            self.authority.cert_pem.bytes(),
            pair.private_key_pem.bytes(),
            b"".join(one.bytes() for one in pair.cert_chain_pems),
        )
        target = server.grpc.replace("127.0.0.1", "localhost")
        own = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(target, credentials, options=own)

    def context(self, *, known: bool = True) -> ssl.SSLContext:
        """Return a client's TLS."""
        made = ssl.create_default_context()
        self.authority.configure_trust(made)
        if known:
            self.clients.issue_cert("client@example.com").configure_cert(made)
        return made

    async def page(self, server: Process, path: str) -> str:
        """Return a page, by a connection of its own."""
        url = server.web.replace("http://127.0.0.1", "https://localhost") + path
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, ssl=self.context()) as answer,
        ):
            return await answer.text()


async def ask(channel: grpc.aio.Channel) -> bool:
    """Return whether a call is answered."""
    stub: Any = rpc.ExecuteServiceStub(channel)
    try:
        answer = await stub.Process(pb.ProcessRequest(prompt="hi"), timeout=5)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.candidates)


async def until(holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    """Wait until it holds.

    Raises:
        TimeoutError: it does not, for so long.
    """
    async with asyncio.timeout(seconds):
        while not await holds():
            await asyncio.sleep(0.1)


def lines(server: Process, message: str) -> list[dict[str, Any]]:
    """Return the log lines with this message."""
    found = [json.loads(one) for one in server.log().splitlines() if one.startswith("{")]
    return [one for one in found if message in json.dumps(one)]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Files of its own."""
    return Site(tmp_path)


@pytest.fixture
async def server(site: Site) -> AsyncIterator[Process]:
    """A server with mutual TLS."""
    async with serving(site.write()) as process:
        yield process


async def test_new_certificates_are_used_and_open_connections_stay(
    site: Site, server: Process
) -> None:
    """Server certificate and client CA change on both ports; a connection from before lives on."""
    before, old = site.channel(server), Site(site.folder, site.authority, site.clients)
    assert await ask(before)
    site.authority, site.clients = trustme.CA(), trustme.CA()
    site.write()

    async def changed() -> bool:
        async with site.channel(server) as channel:
            return await ask(channel)

    await until(changed)
    assert "ok\n" == await site.page(server, "/healthz")
    assert await ask(before)
    with pytest.raises(aiohttp.ClientError):
        await old.page(server, "/healthz")
    foreign = site.channel(server, old.clients)
    assert not await ask(foreign)
    await before.close()
    await foreign.close()
    assert lines(server, "certificates_reloaded")


async def test_sighup_reloads_at_once(site: Site) -> None:
    """With the watch switched off, SIGHUP takes the files over."""
    never = {"GEMINI_BACKEND_SERVER__TLS_RELOAD_SECONDS": "0"}
    async with serving({**site.write(), **never}) as server:
        site.authority = trustme.CA()
        site.write()
        await asyncio.sleep(0.5)
        with pytest.raises(aiohttp.ClientError):
            await site.page(server, "/healthz")
        server.send(signal.SIGHUP)

        async def changed() -> bool:
            with suppress(aiohttp.ClientError):
                return "ok\n" == await site.page(server, "/healthz")
            return False

        await until(changed)


async def test_a_pair_that_does_not_fit_leaves_the_old_one(site: Site, server: Process) -> None:
    """A key without its certificate changes nothing for callers, and health says so."""
    other = trustme.CA().issue_cert("localhost")
    (site.folder / "server_key.pem").write_bytes(other.private_key_pem.bytes())

    async with site.channel(server) as channel:
        stub: Any = health_rpc.HealthServiceStub(channel)

        async def said() -> bool:
            answer = await stub.GetHealthStatus(health.GetHealthStatusRequest())
            parts = {one.name: one.message for one in answer.status.components}
            return "still in use" in parts["certificates"]

        await until(said)
    async with site.channel(server) as another:
        assert await ask(another)
    await asyncio.sleep(0.5)
    assert 1 == len(lines(server, "certificates_not_reloaded"))


async def test_the_expiry_is_a_metric(site: Site, server: Process) -> None:
    """Both certificates have a gauge with the seconds that are left."""
    text = await site.page(server, "/metrics")
    found = re.findall(
        r'^gemini_backend_tls_certificate_expiry_seconds\{certificate="(\w+)"\} (\S+)$',
        text,
        re.MULTILINE,
    )
    assert {"server", "client_ca"} == {name for name, _ in found}
    assert all(float(seconds) > 86_400 for _, seconds in found)


async def connect(address: str, send: bytes = b"", **options: Any) -> bytes:
    """Connect, send, and return what comes until the server closes; nothing where it refuses."""
    host, _, port = address.rpartition(":")
    with suppress(OSError):
        reader, writer = await asyncio.open_connection(host, int(port), **options)
        writer.write(send)
        try:
            async with asyncio.timeout(5):
                return await reader.read(10_000)
        finally:
            writer.close()
    return b""


@pytest.mark.parametrize("port", ["grpc", "web"])
async def test_refused_handshakes_are_counted(site: Site, server: Process, port: str) -> None:
    """Plain HTTP, no certificate and silence: each is refused, counted and logged."""
    address = server.ports[port]
    plain = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    assert b"" == await connect(address, plain)
    nobody = site.context(known=False)
    assert b"" == await connect(address, plain, ssl=nobody, server_hostname="localhost")
    assert b"" == await connect(address)
    name = f'refused_connections_total{{port="{port}",reason="handshake"}} 3.0'

    async def counted() -> bool:
        return name in await site.page(server, "/metrics")

    await until(counted)
    (line, *_) = lines(server, "connections_refused")
    assert (port, "handshake") == (line["port"], line["reason"])
    if port == "web":
        assert ("127.0.0.1", "HTTP_REQUEST") == (line["peer"], line["detail"])


async def test_short_calls_are_no_refused_handshakes(site: Site, server: Process) -> None:
    """Clients that connect, call once and leave are not counted."""
    for _ in range(10):
        async with site.channel(server) as channel:
            assert await ask(channel)
    await asyncio.sleep(2.5)
    text = await site.page(server, "/metrics")
    assert 'refused_connections_total{port="grpc",reason="handshake"} 0.0' in text


async def test_handshakes_that_never_end_hold_no_place_for_long(site: Site) -> None:
    """Whoever takes every connection and says nothing loses them after the time for handshakes."""
    limit = {"GEMINI_BACKEND_SERVER__MAX_CONNECTIONS": "5"}
    async with serving({**site.write(), **limit}) as server, AsyncExitStack() as stack:
        silent = [
            await stack.enter_async_context(raw_caller(server.grpc, b"\x16\x03\x01"))
            for _ in range(8)
        ]

        async def served() -> bool:
            async with site.channel(server) as channel:
                return await ask(channel)

        await until(served)
        assert all([await one.gone(3) for one in silent])
