"""The operations on API keys."""
# ruff: noqa: N802, D102, D107 - the methods are named, and described, by the contract

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from clients.python.tests.fake_backend import PATIENCE
from gemini.backend.v1 import key_service_pb2 as pb
from gemini.backend.v1 import key_service_pb2_grpc
from gemini_backend_client import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Iterator


class FakeKeys(key_service_pb2_grpc.KeyServiceServicer):
    """Notes what it is asked, and answers something."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def _noted(self, request: Any, answer: Any) -> Any:
        self.requests.append(type(request).FromString(request.SerializeToString()))
        return answer

    def CreateApiKey(self, request: Any, _context: Any) -> pb.CreateApiKeyResponse:
        return self._noted(request, pb.CreateApiKeyResponse(key=request.key, secret="s"))

    def GetApiKey(self, request: Any, _context: Any) -> pb.GetApiKeyResponse:
        return self._noted(request, pb.GetApiKeyResponse(key=pb.ApiKey(name=request.name)))

    def ListApiKeys(self, request: Any, _context: Any) -> pb.ListApiKeysResponse:
        name = "keys/b" if request.page_token else "keys/a"
        token = "" if request.page_token else "2"
        answer = pb.ListApiKeysResponse(keys=[pb.ApiKey(name=name)], next_page_token=token)
        return self._noted(request, answer)

    def RotateApiKey(self, request: Any, _context: Any) -> pb.RotateApiKeyResponse:
        key = pb.ApiKey(name=request.name)
        return self._noted(request, pb.RotateApiKeyResponse(key=key, secret="t"))

    def RevokeApiKey(self, request: Any, _context: Any) -> pb.RevokeApiKeyResponse:
        return self._noted(request, pb.RevokeApiKeyResponse(key=pb.ApiKey(name=request.name)))

    def WhoAmI(self, request: Any, _context: Any) -> pb.WhoAmIResponse:
        return self._noted(request, pb.WhoAmIResponse(principal=pb.Principal(tenant="acme")))


@pytest.fixture
def keys() -> Iterator[tuple[FakeKeys, str]]:
    """Give a fake KeyService, and where it listens."""
    fake, server = FakeKeys(), grpc.server(ThreadPoolExecutor(4))
    key_service_pb2_grpc.add_KeyServiceServicer_to_server(fake, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield fake, f"127.0.0.1:{port}"
    server.stop(grace=None).wait(PATIENCE)


def test_keys_are_administered(keys: tuple[FakeKeys, str]) -> None:
    """Each operation makes the request that its arguments say."""
    fake, target = keys
    with Client(target, timeout=PATIENCE) as client:
        made = client.keys.create(
            "acme",
            ["viewer", "ROLE_CALLER"],
            ttl=timedelta(days=1),
            principal="ann",
            allowed_models=["models/a*"],
            limits={"requests_per_minute": 5},
        )
        assert ("s", [pb.ROLE_VIEWER, pb.ROLE_CALLER]) == (made.secret, made.key.roles)
        assert "keys/a" == client.keys.get("a").name
        assert ["keys/a", "keys/b"] == [key.name for key in client.keys.list(tenant="acme")]
        assert "t" == client.keys.rotate("keys/a", overlap=timedelta(0)).secret
        assert "keys/a" == client.keys.revoke("a").name
        assert "acme" == client.who_am_i().tenant
    create, _, first, second, rotate, *_ = fake.requests
    assert (86_400, "ann", 5) == (
        create.ttl.seconds,
        create.key.principal,
        create.key.limits.requests_per_minute,
    )
    assert [("acme", ""), ("acme", "2")] == [
        (one.tenant, one.page_token) for one in (first, second)
    ]
    assert (True, 0) == (rotate.HasField("overlap"), rotate.overlap.seconds)


async def test_the_async_client_does_the_same(keys: tuple[FakeKeys, str]) -> None:
    """Awaited, and iterated with `async for`; what is not said is left to the server."""
    fake, target = keys
    async with AsyncClient(target, timeout=PATIENCE) as client:
        assert "s" == (await client.keys.create("acme")).secret
        assert ["keys/a", "keys/b"] == [key.name async for key in client.keys.list()]
        await client.keys.rotate("a")
        assert "acme" == (await client.who_am_i()).tenant
    assert pb.CreateApiKeyRequest(key=pb.ApiKey(tenant="acme")) == fake.requests[0]
    assert not fake.requests[3].HasField("overlap")


def test_an_unknown_role_is_refused() -> None:
    """Before anything is sent."""
    with Client() as client, pytest.raises(ValueError, match="EMPEROR"):
        client.keys.create("acme", ["emperor"])
