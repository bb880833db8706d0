"""Kubernetes' own probes: no certificate, no key, and no more than two words for anybody."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme

from tests.e2e.hardening.raw_callers import EXECUTE, raw_caller
from tests.support import http2_frames as h2
from tests.support.pki import issue, write
from tests.support.servers.process import running, serving

if TYPE_CHECKING:
    from pathlib import Path

PROBES = {"GEMINI_BACKEND_WEB__PROBE_LISTEN": "127.0.0.1:0"}


async def get(address: str, path: str, **options: Any) -> tuple[int, str]:
    """Return status and body of a page."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}{path}", **options) as answer,
    ):
        return answer.status, await answer.text()


async def test_probes_need_nothing_where_the_rest_needs_mutual_tls(tmp_path: Path) -> None:
    """Both other ports ask for a certificate; the port of probes has two pages for everybody."""
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    files = {**write(tmp_path, issue(authority)), "tls_client_ca_file": str(ca)}
    tls = {f"GEMINI_BACKEND_SERVER__{name.upper()}": value for name, value in files.items()}
    # on all addresses, as in a container: permitted for the probes, since they say nothing
    probes = {"GEMINI_BACKEND_WEB__PROBE_LISTEN": "0.0.0.0:0"}
    async with serving({**tls, **probes, "GEMINI_BACKEND_WEB__TLS": "true"}) as server:
        address = server.ports["probe"].replace("0.0.0.0", "127.0.0.1")
        assert (200, "ok\n") == await get(address, "/healthz")
        assert (200, "ready\n") == await get(address, "/readyz")
        for path in ("/", "/metrics", "/readyz/", "//readyz", "/%2e%2e/metrics"):
            assert (404, "404: Not Found") == await get(address, path)
        with pytest.raises(aiohttp.ClientError):
            await get(server.ports["web"], "/readyz")


async def test_readiness_ends_with_the_drain_and_liveness_does_not() -> None:
    """A server that drains is not ready and is alive, as long as a call holds it."""
    async with serving(PROBES) as server, raw_caller(server.grpc) as caller:
        assert (200, "ready\n") == await get(server.ports["probe"], "/readyz")
        await caller.send(h2.headers(1, h2.request(EXECUTE)))  # its request never comes
        await asyncio.sleep(0.3)
        server.send(signal.SIGTERM)
        await asyncio.sleep(0.3)
        assert (503, "not ready\n") == await get(server.ports["probe"], "/readyz")
        assert (200, "ok\n") == await get(server.ports["probe"], "/healthz")


async def test_the_probe_port_works_without_the_web_port() -> None:
    """The pages may be off while probes are on; the ready line names what is open."""
    off = {"GEMINI_BACKEND_WEB__ENABLED": "false", **PROBES}
    async with running("serve", "--listen", "127.0.0.1:0", env=off) as server:
        assert {"grpc", "probe"} == set(server.ports)
        assert (200, "ok\n") == await get(server.ports["probe"], "/healthz")
