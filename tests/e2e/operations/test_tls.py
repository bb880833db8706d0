"""TLS and mutual TLS, with certificates that are made for the test."""

from __future__ import annotations

import ssl
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
import trustme

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1 import execute_service_pb2_grpc as rpc
from tests.support.messages.failures import failure_of
from tests.support.servers.process import Process, run_backend, run_command, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Pki:
    """An authority, the server's certificate and a client's, as PEM files in a folder."""

    folder: Path

    def path(self, name: str) -> str:
        """Return the path of one file."""
        return str(self.folder / f"{name}.pem")

    def credentials(self, *, client: bool = False, stranger: bool = False) -> Any:
        """Return a channel's credentials; with the client's certificate, or one of a stranger."""
        whose = "stranger" if stranger else "client"
        pair = (f"{whose}_key", whose) if client or stranger else ()
        pems = [(self.folder / f"{name}.pem").read_bytes() for name in ("ca", *pair)]
        return grpc.ssl_channel_credentials(*pems)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """Make an authority and certificates."""
    folder = tmp_path_factory.mktemp("pki")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made = {
        "server": authority.issue_cert("localhost", "127.0.0.1"),
        "client": authority.issue_cert("client@example.com"),
        "stranger": trustme.CA().issue_cert("stranger@example.com"),
    }
    for name, cert in made.items():
        cert.private_key_pem.write_to_path(folder / f"{name}_key.pem")
        for blob in cert.cert_chain_pems:
            blob.write_to_path(folder / f"{name}.pem", append=True)
    return Pki(folder)


def settings(pki: Pki, **more: str) -> dict[str, str]:
    """Return the environment of a server with TLS on both ports."""
    return {
        "GEMINI_BACKEND_SERVER__TLS_CERT_FILE": pki.path("server"),
        "GEMINI_BACKEND_SERVER__TLS_KEY_FILE": pki.path("server_key"),
        "GEMINI_BACKEND_WEB__TLS": "true",
        **more,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls(pki: Pki) -> AsyncIterator[Process]:
    """Run a server with TLS."""
    async with serving(settings(pki)) as process:
        yield process


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mutual(pki: Pki) -> AsyncIterator[Process]:
    """Run a server with mutual TLS."""
    more = {"GEMINI_BACKEND_SERVER__TLS_CLIENT_CA_FILE": pki.path("ca")}
    async with serving(settings(pki, **more)) as process:
        yield process


async def ask(server: Process, credentials: Any) -> pb.ProcessResponse:
    """Ask for an answer; without credentials in plain text."""
    target = server.grpc.replace("127.0.0.1", "localhost")
    channel = (
        grpc.aio.insecure_channel(target)
        if credentials is None
        else grpc.aio.secure_channel(target, credentials)
    )
    async with channel:
        stub: Any = rpc.ExecuteServiceStub(channel)
        answer: pb.ProcessResponse = await stub.Process(pb.ProcessRequest(prompt="hi"), timeout=5)
        return answer


async def test_tls_serves_whoever_trusts_its_authority(tls: Process, pki: Pki) -> None:
    """Without mutual TLS a client needs no certificate of its own."""
    assert (await ask(tls, pki.credentials())).candidates


async def test_tls_refuses_plain_text(tls: Process) -> None:
    """A client without TLS gets UNAVAILABLE, and the server goes on."""
    assert grpc.StatusCode.UNAVAILABLE == (await failure_of(ask(tls, None))).code


async def test_mutual_tls_serves_a_client_with_a_certificate(mutual: Process, pki: Pki) -> None:
    """A certificate of the configured authority is let in."""
    assert (await ask(mutual, pki.credentials(client=True))).candidates


@pytest.mark.parametrize("kind", ["none", "stranger", "plain"])
async def test_mutual_tls_refuses_the_rest(mutual: Process, pki: Pki, kind: str) -> None:
    """No certificate, one of somebody else's authority, or no TLS at all: UNAVAILABLE."""
    credentials = None if kind == "plain" else pki.credentials(stranger=kind == "stranger")
    assert grpc.StatusCode.UNAVAILABLE == (await failure_of(ask(mutual, credentials))).code
    assert (await ask(mutual, pki.credentials(client=True))).candidates


async def test_the_web_port_asks_for_the_same(mutual: Process, tls: Process, pki: Pki) -> None:
    """With web.tls the pages speak TLS, and let in whom gRPC lets in."""
    anybody = ssl.create_default_context(cafile=pki.path("ca"))
    known = ssl.create_default_context(cafile=pki.path("ca"))
    known.load_cert_chain(pki.path("client"), pki.path("client_key"))
    async with aiohttp.ClientSession() as session:
        for server, context in ((tls, anybody), (mutual, known)):
            url = server.web.replace("http://", "https://") + "/readyz"
            async with session.get(url, ssl=context) as answer:
                assert 200 == answer.status
        with pytest.raises(aiohttp.ClientError):
            await session.get(mutual.web.replace("http://", "https://"), ssl=anybody)


async def test_the_command_speaks_tls(mutual: Process, pki: Pki) -> None:
    """`call` with --tls-ca, --tls-cert and --tls-key gets an answer; without them one sentence."""
    call = (sys.executable, "-m", "gemini_backend", "call", "Say: hello", "--target", mutual.grpc)
    pair = ("--tls-cert", pki.path("client"), "--tls-key", pki.path("client_key"))
    done = await run_command(*call, "--tls-ca", pki.path("ca"), *pair)
    assert (0, "hello\n") == (done.code, done.stdout), done
    refused = await run_command(*call, "--timeout", "3")
    assert 1 == refused.code, refused
    assert 1 == len(refused.stderr.splitlines())


@pytest.mark.parametrize("broken", ["missing", "garbage", "mismatch"])
async def test_unusable_certificates_are_one_sentence(
    pki: Pki, tmp_path: Path, broken: str
) -> None:
    """A certificate that cannot be read, or does not fit its key, ends the start in a sentence."""
    file = tmp_path / "cert.pem"
    if broken == "garbage":
        file.write_text("no certificate")
    named = pki.path("client") if broken == "mismatch" else str(file)
    done = await run_backend(
        "serve",
        *("--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"),
        env=settings(
            pki,
            GEMINI_API_KEY="k",
            GEMINI_BACKEND_SERVER__TLS_CERT_FILE=named,
            GEMINI_BACKEND_WEB__TLS="false",
        ),
    )
    assert (1, "", 1) == (done.code, done.stdout, len(done.stderr.splitlines())), done
    assert "cannot use the certificates of server.tls_" in done.stderr
    assert ("belongs to another certificate" in done.stderr) == (broken == "mismatch")


async def test_the_doctor_checks_certificates(pki: Pki) -> None:
    """A pair that fits is ok; one that does not fails the doctor, which names both files."""
    ports = {
        "GEMINI_BACKEND_SERVER__LISTEN": "127.0.0.1:0",
        "GEMINI_BACKEND_WEB__LISTEN": "127.0.0.1:0",
    }
    wrong = {"GEMINI_BACKEND_SERVER__TLS_KEY_FILE": pki.path("client_key")}
    good = await run_backend("doctor", env=settings(pki, **ports))
    bad = await run_backend("doctor", env=settings(pki, **ports, **wrong))
    assert (0, True) == (good.code, "server.tls_cert_file: ok" in good.stdout), good
    assert (1, True) == (bad.code, "belongs to another certificate" in bad.stderr), bad
