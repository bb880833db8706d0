"""Client certificates at the running server: each is a principal of its own."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
import trustme

from gemini.backend.v1 import execute_service_pb2 as execute
from gemini.backend.v1 import (
    execute_service_pb2_grpc,
    key_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
)
from gemini.backend.v1 import key_service_pb2 as pb
from tests.support.certificates import CN, O, dns, email, issued, uri
from tests.support.servers.guarded import bearer, ended_by
from tests.support.servers.process import Process, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cryptography.x509 import GeneralName

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_FOUND = ("NOT_FOUND", "CALLER_UNKNOWN_RESOURCE")
REFUSED = ("UNAUTHENTICATED", "CALLER_UNAUTHENTICATED")
OK = ("OK", "")
OPS = "spiffe://acme/ops"


@dataclass(frozen=True)
class Place:
    """A running server, its authority, and the folder with the certificates."""

    server: Process
    authority: trustme.CA
    folder: Path

    @asynccontextmanager
    async def channel(self, *sans: GeneralName, cn: str = "", o: str = "") -> AsyncIterator[Any]:
        """Yield a channel with a certificate of the authority."""
        subject = [(kind, text) for kind, text in ((O, o), (CN, cn)) if text]
        key, chain = issued(self.authority, *subject, sans=sans)
        root = self.authority.cert_pem.bytes()
        credentials = grpc.ssl_channel_credentials(root, key, chain)
        target = self.server.grpc.replace("127.0.0.1", "localhost")
        async with grpc.aio.secure_channel(target, credentials) as channel:
            yield channel


@asynccontextmanager
async def serving_certificates(folder: Path, **settings: str) -> AsyncIterator[Place]:
    """Run a server with mutual TLS on both ports; settings by `SECTION__FIELD`."""
    authority = trustme.CA()
    own = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    own.private_key_pem.write_to_path(folder / "key.pem")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    chosen = {
        "STATE__DIR": str(folder / "state"),
        "SERVER__TLS_CERT_FILE": str(folder / "cert.pem"),
        "SERVER__TLS_KEY_FILE": str(folder / "key.pem"),
        "SERVER__TLS_CLIENT_CA_FILE": str(folder / "ca.pem"),
        "WEB__TLS": "true",
        "AUTH__FAILURE_DELAY_SECONDS": "0",
        **settings,
    }
    env = {f"GEMINI_BACKEND_{name}": value for name, value in chosen.items()}
    async with serving(env) as server:
        yield Place(server, authority, folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A server on its defaults but for mutual TLS, and one entry."""
    entries = [{"tenant": "house", "san": OPS, "name": "ops", "roles": ["viewer"]}]
    settings = {"AUTH__MTLS__PRINCIPALS": json.dumps(entries)}
    async with serving_certificates(tmp_path_factory.mktemp("pki"), **settings) as made:
        yield made


async def who(channel: Any, metadata: Any = ()) -> tuple[str, str]:
    """Return tenant and name of the caller."""
    stub: Any = key_service_pb2_grpc.KeyServiceStub(channel)
    found = (await stub.WhoAmI(pb.WhoAmIRequest(), metadata=metadata)).principal
    assert pb.AUTH_METHOD_MTLS == found.method
    assert found.expire_time.seconds > 0
    return found.tenant, found.name


async def test_each_certificate_is_a_principal(place: Place) -> None:
    """By the entry, else by organization and the first alternative name, else by common name."""
    async with place.channel(uri(OPS), cn="x", o="Acme") as channel:
        assert ("house", "ops") == await who(channel)
    async with place.channel(email("bob@acme.com"), o="Acme") as channel:
        assert ("Acme", "bob@acme.com") == await who(channel)
    async with place.channel(dns("host.acme.com"), cn="alice") as channel:
        assert "host.acme.com" == (await who(channel))[1]


async def test_bob_cannot_find_what_is_the_clients(place: Place) -> None:
    """Sessions and executions of one certificate do not exist for another of its organization."""
    async with (
        place.channel(email("client@acme.com"), o="Acme") as client,
        place.channel(email("bob@acme.com"), o="Acme") as bob,
    ):
        mine, theirs = (session_service_pb2_grpc.SessionServiceStub(one) for one in (client, bob))
        create = session_service_pb2.CreateSessionRequest(session_id="secret")
        name = (await mine.CreateSession(create)).session.name
        get = session_service_pb2.GetSessionRequest(name=name)
        delete = session_service_pb2.DeleteSessionRequest(name=name)
        assert NOT_FOUND == await ended_by(theirs.GetSession(get))
        assert NOT_FOUND == await ended_by(theirs.DeleteSession(delete))
        listed = await theirs.ListSessions(session_service_pb2.ListSessionsRequest())
        assert [] == list(listed.sessions)
        talk = execute.ExecuteRequest(prompt="hi", session=name)
        stub: Any = execute_service_pb2_grpc.ExecuteServiceStub(bob)
        assert NOT_FOUND == await ended_by(stub.Process(talk))
        assert OK == await ended_by(mine.GetSession(get))


@pytest.mark.parametrize(
    ("sans", "cn", "o"),
    [
        ([], OPS, "house"),
        ([dns(OPS)], "x", "house"),
        ([email("ops@acme.com")], "ops,O=house", "Acme"),
        ([], "x", "house,CN=ops"),
        ([uri(f"{OPS}/x")], "x", "Acme"),
        ([uri("spiffe://acme/OPS")], "x", "Acme"),
        ([uri("spiffe://acme.evil.com/ops")], "x", "Acme"),
        ([uri(f"{OPS}\0.evil.com")], "x", "Acme"),
    ],
)
async def test_no_other_certificate_fits_an_entry(
    place: Place, sans: list[GeneralName], cn: str, o: str
) -> None:
    """What an entry names is neither found in another kind of name nor in a part of one."""
    async with place.channel(*sans, cn=cn, o=o) as channel:
        assert ("house", "ops") != await who(channel)


async def test_roles_of_certificates_hold_at_pages(place: Place) -> None:
    """`/metrics` is for viewers: the entry's certificate may, another one may not."""
    statuses = []
    for san in (uri(OPS), email("bob@acme.com")):
        context = ssl.create_default_context(cafile=str(place.folder / "ca.pem"))
        file = place.folder / "client.pem"
        file.write_bytes(b"".join(issued(place.authority, (CN, "x"), sans=[san])))
        context.load_cert_chain(file)
        url = place.server.web.replace("http://", "https://") + "/metrics"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
            statuses.append(answer.status)
    assert [200, 403] == statuses


async def test_another_credential_is_not_replaced_by_the_certificate(place: Place) -> None:
    """A call with a key or token that is not accepted is refused, certificate or not."""
    async with place.channel(email("bob@acme.com")) as channel:
        stub: Any = key_service_pb2_grpc.KeyServiceStub(channel)
        for secret in ("gbk_" + "a" * 12 + "_" + "b" * 43, "a.b.c"):
            call = stub.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(secret))
            assert REFUSED == await ended_by(call)


async def test_without_default_role_only_entries_may_call(tmp_path: Path) -> None:
    """A certificate of the authority that no entry names is refused."""
    entries = [{"tenant": "acme", "san": "*.clients.acme.com"}]
    settings = {
        "AUTH__MTLS__PRINCIPALS": json.dumps(entries),
        "AUTH__MTLS__DEFAULT_ROLE": "",
    }
    async with serving_certificates(tmp_path, **settings) as place:
        async with place.channel(dns("other.org"), dns("a.clients.acme.com")) as channel:
            assert ("acme", "a.clients.acme.com") == await who(channel)
        async with place.channel(dns("a.b.clients.acme.com"), o="acme") as channel:
            stub: Any = key_service_pb2_grpc.KeyServiceStub(channel)
            assert REFUSED == await ended_by(stub.WhoAmI(pb.WhoAmIRequest()))
