"""JSON Web Tokens at the running server: who they are, keys that rotate, and attacks."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import grpc
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gemini.backend.v1 import (
    health_service_pb2,
    health_service_pb2_grpc,
    key_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
)
from gemini.backend.v1 import key_service_pb2 as pb
from tests.support.issuer import AUDIENCE, ISSUER, Signer, claims, signer, text_of
from tests.support.servers.guarded import bearer, ended_by
from tests.support.servers.key_page import KeyPage, publishing
from tests.support.servers.process import Process, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

OK = ("OK", "")
REFUSED = ("UNAUTHENTICATED", "CALLER_UNAUTHENTICATED")
EVIL = signer("RS256", "evil")


@dataclass(frozen=True)
class Place:
    """A running server that accepts tokens, a channel to it, and its issuer."""

    server: Process
    channel: grpc.aio.Channel
    page: KeyPage

    def whoami(self, token: str) -> Any:
        """Ask who calls."""
        stub: Any = key_service_pb2_grpc.KeyServiceStub(self.channel)
        return stub.WhoAmI(pb.WhoAmIRequest(), metadata=bearer(token))

    async def keys(self) -> str:
        """Return the state of the health component `jwt_keys`."""
        stub: Any = health_service_pb2_grpc.HealthServiceStub(self.channel)
        asked = health_service_pb2.GetHealthStatusRequest()
        found = await stub.GetHealthStatus(asked, metadata=bearer(token()))
        (state,) = (one.state for one in found.status.components if one.name == "jwt_keys")
        return health_service_pb2.HealthState.Name(state).rpartition("_")[2]

    async def ended(self, token: str) -> tuple[str, str]:
        """Return how a call with a token ends."""
        return await ended_by(self.whoami(token))


@asynccontextmanager
async def serving_tokens(page: KeyPage, state: Path, **settings: str) -> AsyncIterator[Place]:
    """Run a server with `auth.methods = ["jwt"]`; settings by `SECTION__FIELD`."""
    chosen = {
        "STATE__DIR": str(state),
        "AUTH__METHODS": "jwt",
        "AUTH__FAILURE_DELAY_SECONDS": "0",
        "AUTH__JWT__ISSUER": ISSUER,
        "AUTH__JWT__AUDIENCES": AUDIENCE,
        "AUTH__JWT__JWKS_URL": page.url,
        "AUTH__JWT__UNKNOWN_KEY_SECONDS": "1",
        **settings,
    }
    env = {f"GEMINI_BACKEND_{name}": value for name, value in chosen.items()}
    async with serving(env) as server, grpc.aio.insecure_channel(server.grpc) as channel:
        yield Place(server, channel, page)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    """A server whose issuer has a key of each kind."""
    keys = [signer(name, name) for name in ("RS256", "ES256", "EdDSA")]
    async with (
        publishing(signer(), *keys) as page,
        serving_tokens(page, tmp_path_factory.mktemp("state")) as made,
    ):
        yield made


def token(made: Signer | None = None, header: dict[str, Any] | None = None, **more: Any) -> str:
    """Return a good token, unless `more` makes it another."""
    return (made or signer()).token(claims(time.time(), **more), header)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_says_who_calls(place: Place, algorithm: str) -> None:
    """Tenant, name, roles and the end of its time, the first time and when it is known."""
    text = token(signer(algorithm, algorithm), roles=["viewer", "offline_access"])
    for _ in range(2):
        found = (await place.whoami(text)).principal
        assert ("acme", "alice", [pb.ROLE_VIEWER]) == (found.tenant, found.name, list(found.roles))
        assert (pb.AUTH_METHOD_JWT, "") == (found.method, found.api_key)
        assert 500 < found.expire_time.seconds - time.time() < 601


def unsigned(header: dict[str, Any], signature: bytes = b"") -> str:
    """Return a token with good claims and this header and signature."""
    parts = (json.dumps(part).encode() for part in (header, claims(time.time())))
    return ".".join((*map(text_of, parts), text_of(signature)))


def by_hmac(alg: str, secret: bytes) -> str:
    """Return a token with an HMAC by this secret."""
    text = unsigned({"alg": alg, "kid": "one"})
    return text + text_of(hmac.digest(secret, text[:-1].encode(), f"sha{alg[2:]}"))


def attacks() -> dict[str, str]:
    """Return tokens that must be refused."""
    public = signer().key.public_key()
    forms = {
        "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "JWK": json.dumps(signer().jwk()).encode(),
    }
    good, now = token(), int(time.time())
    evil = Signer("RS256", "one", EVIL.key)
    head, body, end = good.split(".")
    return {
        **{f"alg {alg}": unsigned({"alg": alg}) for alg in ("none", "None", "NONE", "nOnE", "")},
        "alg none and a signature": unsigned({"alg": "none"}, b"x" * 256),
        **{f"HMAC by {form}": by_hmac("HS256", key) for form, key in forms.items()},
        "HMAC of 512 bits": by_hmac("HS512", forms["PEM"]),
        "an empty HMAC key": by_hmac("HS256", b""),
        "another audience": token(aud="another"),
        "another issuer": token(iss=ISSUER + ".evil.com"),
        "expired": token(exp=now - 3600),
        "not yet": token(nbf=now + 3600),
        "issued in the future": token(iat=now + 3600),
        "exp as a text": token(exp=str(now + 600)),
        "exp negative": token(exp=-1),
        "no exp": token(exp=None),
        "exp not a number": signer().token(json.dumps(claims(now)).replace(str(now + 600), "NaN")),
        "a claim twice": signer().token('{"tenant": "evil", ' + json.dumps(claims(now))[1:]),
        "deep": signer().token('{"a": ' + "[" * 3000 + "]" * 3000 + "}"),
        "large": token(more="x" * 20_000),
        "another tenant's look-alike": token(tenant="аcme"),  # noqa: RUF001 - a Cyrillic letter
        "a tenant with a path": token(tenant="../acme"),
        "another's key": token(evil),
        "an unknown key": token(EVIL),
        "kid with a path": token(Signer("RS256", "../../../dev/null", EVIL.key)),
        "kid with SQL": token(Signer("RS256", "one' OR '1'='1", EVIL.key)),
        "jwk": token(evil, {"jwk": evil.jwk()}),
        "jku": token(evil, {"jku": "https://evil.example.com/keys"}),
        "x5u": token(evil, {"x5u": "https://evil.example.com/cert"}),
        "crit": token(header={"crit": ["exp"]}),
        "one character less": good[:-1],
        "one character more": good + "A",
        "no signature": f"{head}.{body}.",
        "the signature of another": f"{head}.{body}." + token(sub="bob").rpartition(".")[2],
        "the claims of another": f"{head}.{token(roles=['admin']).split('.')[1]}.{end}",
        "its beginning": good[: len(good) // 2],
    }


@pytest.mark.parametrize("name", attacks())
async def test_attacks_are_refused(place: Place, name: str) -> None:
    """Each is UNAUTHENTICATED, also while a good token that resembles it is known."""
    text = attacks()[name]
    assert OK == await place.ended(token())
    assert REFUSED == await place.ended(text)
    assert OK == await place.ended(token())


async def test_the_beginning_of_a_known_token_is_not_the_token(place: Place) -> None:
    """Whatever is remembered is remembered of the whole token."""
    text = token()
    for _ in range(20):
        assert OK == await place.ended(text)
    changed = ("A" if text[-1] != "A" else "E") if text[-2] else ""
    others = [text[:-1], text[:-8], text[:16], text + "A", text[:-1] + changed, text.upper()]
    assert [REFUSED] * 6 == [await place.ended(other) for other in others]


async def test_invented_keys_cause_few_readings(place: Place) -> None:
    """200 tokens with unknown ids cause one reading of the issuer's page per second."""
    before, began = place.page.reads, time.monotonic()
    texts = [token(Signer("RS256", f"k{number}", EVIL.key)) for number in range(200)]
    assert {REFUSED} == set(await asyncio.gather(*map(place.ended, texts)))
    assert place.page.reads - before <= 1 + time.monotonic() - began


async def test_tenants_of_tokens_are_apart(place: Place) -> None:
    """What a caller of one tenant makes, another one of that tenant or of another cannot find."""
    stub: Any = session_service_pb2_grpc.SessionServiceStub(place.channel)
    create = session_service_pb2.CreateSessionRequest(session_id="mine")
    made = await stub.CreateSession(create, metadata=bearer(token()))
    get = session_service_pb2.GetSessionRequest(name=made.session.name)
    for other in (token(tenant="evil"), token(sub="bob"), token(sub="alice ")):
        found = await ended_by(stub.GetSession(get, metadata=bearer(other)))
        assert ("NOT_FOUND", "CALLER_UNKNOWN_RESOURCE") == found
    again = token(jti="another token of the same caller")
    assert OK == await ended_by(stub.GetSession(get, metadata=bearer(again)))


async def test_pages_take_tokens(place: Place) -> None:
    """`/metrics` needs the role viewer over HTTP as well."""
    async with aiohttp.ClientSession() as session:
        statuses = []
        for text in (token(roles=["viewer"]), token(), token(EVIL)):
            headers = {"Authorization": f"Bearer {text}"}
            async with session.get(f"{place.server.web}/metrics", headers=headers) as answer:
                statuses.append(answer.status)
    assert [200, 403, 401] == statuses


async def test_no_token_is_logged(place: Place) -> None:
    """Neither a good one nor one that is refused, nor a piece of either."""
    for text in (token(), token(EVIL), token(aud="another")):
        await place.ended(text)
        for part in text.split("."):
            assert part[10:60] not in place.server.log()


async def test_keys_rotate_without_a_restart(tmp_path: Path) -> None:
    """A new key works at once beside the old one; the tokens of one that is withdrawn end."""
    old, new, last = signer(), signer("ES256", "two"), signer("EdDSA", "three")
    async with publishing(old) as page, serving_tokens(page, tmp_path) as place:
        before = token(old)
        assert OK == await place.ended(before)
        page.publish(old, new)
        assert [OK, OK] == [await place.ended(token(new)), await place.ended(before)]
        await asyncio.sleep(1.1)  # `auth.jwt.unknown_key_seconds`
        page.publish(new, last)
        assert [OK, OK] == [await place.ended(token(last)), await place.ended(token(new))]
        assert REFUSED == await place.ended(before)


async def test_an_issuer_that_is_down(tmp_path: Path) -> None:
    """Before its keys were read calls are UNAVAILABLE; afterwards an outage changes nothing."""
    async with publishing(signer()) as page:
        page.status = 503
        async with serving_tokens(page, tmp_path) as place:
            unavailable = ("UNAVAILABLE", "BACKEND_STORE_UNAVAILABLE")
            assert unavailable == await place.ended(token())
            page.status = 200
            await asyncio.sleep(1.1)  # `auth.jwt.unknown_key_seconds`
            assert OK == await place.ended(token())
            assert "HEALTHY" == await place.keys()
            page.status = 503
            await asyncio.sleep(1.1)
            assert OK == await place.ended(token(sub="bob"))
            assert REFUSED == await place.ended(token(EVIL))
            assert "DEGRADED" == await place.keys()
            assert "jwks_unavailable" in place.server.log()


async def test_failures_are_answered_later_and_later(tmp_path: Path) -> None:
    """Each failure of a peer is answered later; a good token of the same peer at once."""
    delays = {"AUTH__FAILURE_DELAY_SECONDS": "0.2", "AUTH__MAX_FAILURE_DELAY_SECONDS": "0.8"}
    async with publishing(signer()) as page, serving_tokens(page, tmp_path, **delays) as place:
        took = []
        for text in (token(EVIL), token(EVIL), token(EVIL), token()):
            began = time.monotonic()
            await place.ended(text)
            took.append(time.monotonic() - began)
    expected = [0.2, 0.4, 0.8]
    assert [True] * 3 == [least <= one for least, one in zip(expected, took[:3], strict=True)]
    assert took[3] < 0.2
