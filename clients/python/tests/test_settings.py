"""What a client is told once."""

from __future__ import annotations

import math
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.python.tests.fake_backend import PATIENCE, FakeBackend
from gemini.backend.v1 import execute_service_pb2_grpc
from gemini_backend_client import AsyncClient, Client, Tls, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with an authority's certificate, and one with its key for localhost."""
    folder = tmp_path_factory.mktemp("pems")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    for command in (
        f"req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=ca",
        f"req {new_key} -keyout key.pem -out req.pem -subj /CN=localhost",
        "x509 -req -in req.pem -CA ca.pem -CAkey ca.key -out cert.pem -extfile names",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def mutual_tls_target(pems: Path) -> Iterator[str]:
    """Give a server that wants a certificate of its clients."""
    server = grpc.server(ThreadPoolExecutor(4))
    execute_service_pb2_grpc.add_ExecuteServiceServicer_to_server(FakeBackend(), server)
    ca, certificate, key = (
        (pems / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem")
    )
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=ca, require_client_auth=True
    )
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield f"localhost:{port}"
    server.stop(grace=None).wait(PATIENCE)


async def test_mutual_tls(pems: Path, mutual_tls_target: str) -> None:
    """With authority, certificate and key the client gets through."""
    tls = Tls.from_files(pems / "ca.pem", pems / "cert.pem", pems / "key.pem")
    with Client(mutual_tls_target, credentials=tls, timeout=PATIENCE) as client:
        assert "Hello" == client.process("hi").text
    async with AsyncClient(
        mutual_tls_target, credentials=tls.channel_credentials(), timeout=PATIENCE
    ) as async_client:
        assert "Hello" == await async_client.execute("hi").text()


def test_mutual_tls_without_certificate(pems: Path, mutual_tls_target: str) -> None:
    """Without a certificate nobody gets in, and the error speaks of TLS."""
    tls = Tls.from_files(pems / "ca.pem")
    with (
        Client(mutual_tls_target, credentials=tls, retry=None, timeout=PATIENCE) as client,
        pytest.raises(UnavailableError, match="TLS"),
    ):
        client.process("hi")


def test_half_a_pair_is_refused() -> None:
    """A certificate without its key, or the reverse, could never work."""
    with pytest.raises(ValueError, match="both"):
        Tls(certificate_chain=b"x")


def test_keys_are_not_shown() -> None:
    """What is secret does not stand in a repr."""
    assert "secret" not in repr(Tls(certificate_chain=b"c", private_key=b"secret"))


@pytest.mark.parametrize("timeout", [0, -1.0, math.nan, math.inf])
def test_impossible_timeouts_are_refused(timeout: float) -> None:
    """A client that could never wait is not made."""
    with pytest.raises(ValueError, match="None for no limit"):
        Client(timeout=timeout)


def test_own_options_outrank() -> None:
    """The caller's channel options win over the client's."""
    options = {"grpc.keepalive_time_ms": 5}
    client = Client(options=options)
    assert 5 == dict(client._link.settings.channel_options())["grpc.keepalive_time_ms"]


@pytest.mark.parametrize(
    ("target", "proxied"),
    [
        ("127.0.0.1:50051", False),
        ("127.1.2.3:50051", False),
        ("localhost:50051", False),
        ("[::1]:50051", False),
        ("dns:///localhost:50051", False),
        ("ipv4:127.0.0.1:50051", False),
        ("backend.test:50051", True),
        ("localhost.test:50051", True),
        ("10.0.0.1:50051", True),
    ],
)
def test_no_proxy_leads_to_this_machine(target: str, *, proxied: bool) -> None:
    """Whatever http_proxy says; other machines may be behind one."""
    options = dict(Client(target)._link.settings.channel_options())
    assert proxied is ("grpc.enable_http_proxy" not in options)
