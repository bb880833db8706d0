"""Attacks on identity, each against the running server; docs/security.md has the list.

Covers: composition/doors/identity.py, composition/doors/grpc_doors.py
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import pytest_asyncio

from gemini.backend.v1 import (
    audit_service_pb2,
    audit_service_pb2_grpc,
    config_service_pb2,
    config_service_pb2_grpc,
    execute_service_pb2_grpc,
    key_service_pb2,
    key_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    upstream_key_service_pb2,
    upstream_key_service_pb2_grpc,
)
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini.backend.v1.content_pb2 import GenerationConfig
from tests.support.servers.guarded import NO_KEY, Guarded, bearer, ended, ended_by, guarded
from tests.support.servers.process import simulating

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANN, BOB, EVE, ADA = "acme/ann", "acme/bob", "evil/eve", "house/ada"
KEYS = {ANN: ("caller",), BOB: ("caller",), EVE: ("caller",), ADA: ("admin",)}
UNKNOWN = ("UNAUTHENTICATED", "CALLER_UNAUTHENTICATED")
FORBIDDEN = ("PERMISSION_DENIED", "CALLER_FORBIDDEN")
NOT_FOUND = ("NOT_FOUND", "CALLER_UNKNOWN_RESOURCE")
OK = ("OK", "")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Guarded]:
    """A server with callers of two tenants and an admin."""
    async with guarded(tmp_path_factory.mktemp("state"), KEYS) as made:
        yield made


def whoami(place: Guarded, metadata: Any) -> Any:
    """Ask who calls."""
    stub: Any = key_service_pb2_grpc.KeyServiceStub(place.channel)
    return stub.WhoAmI(key_service_pb2.WhoAmIRequest(), metadata=metadata)


def process(place: Guarded, metadata: Any, prompt: str = "hello", **fields: Any) -> Any:
    """Ask for an answer."""
    stub: Any = execute_service_pb2_grpc.ExecuteServiceStub(place.channel)
    return stub.Process(pb.ExecuteRequest(prompt=prompt, **fields), metadata=metadata)


def segment(value: dict[str, Any]) -> str:
    """Return a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_each_key_is_its_principals(place: Guarded) -> None:
    """In either header, whatever its case."""
    for who in KEYS:
        answer = await whoami(place, place.key(who))
        assert who == f"{answer.principal.tenant}/{answer.principal.name}"
        answer = await whoami(place, (("x-api-key", place.secrets[who]),))
        assert who == f"{answer.principal.tenant}/{answer.principal.name}"


async def test_keys_that_are_not_ours_are_refused(place: Guarded) -> None:
    """Foreign, truncated, extended, changed, mixed, empty, odd; all with the same words."""
    ann, eve = place.secrets[ANN], place.secrets[EVE]
    head, _, tail = ann.rpartition("_")
    wrong = [
        "",
        "gbk_",
        "gbk__",
        head,
        f"{head}_",
        ann[:-1],
        ann + "A",
        ann[:-1] + ("A" if ann[-1] != "A" else "B"),
        ann.swapcase(),
        f" {ann[1:]}",
        f"{head}_{eve.rpartition('_')[2]}",
        f"{eve.rpartition('_')[0]}_{tail}",
        ann * 50,
        "gbk_" + "A" * 4000,
        "AIzaSy" + "x" * 33,
        "null",
        "' OR '1'='1",
        "gbk_%_" + "_" * 43,
        "gbk_../../etc/passwd_" + "x" * 43,
    ]
    said = set()
    for secret in wrong:
        for metadata in (bearer(secret), (("x-api-key", secret),)):
            how = await ended(whoami(place, metadata))
            assert (UNKNOWN, False) == (how[:2], bool(secret) and secret in how.said), secret
            said.add(how.said)
    # no credential; not of this server; not accepted
    assert len(said) <= 3, said


async def test_the_beginning_of_a_known_key_is_not_the_key(place: Guarded) -> None:
    """After the key itself was used many times, so that whatever is remembered is."""
    secret = place.secrets[ANN]
    for _ in range(20):
        await whoami(place, bearer(secret))
    for end in range(len(secret) - 3, len(secret)):
        assert UNKNOWN == await ended_by(whoami(place, bearer(secret[:end])))
    assert UNKNOWN == await ended_by(whoami(place, bearer(f"{secret}\u00e9".encode().hex())))


async def test_what_is_stored_is_no_key(place: Guarded) -> None:
    """Nothing of the database is accepted: no hash in any spelling, no id, with a prefix or not."""
    found: list[Any] = []
    for file in place.state.rglob("*.sqlite3"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as db:
            tables = [
                name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type='table'")
            ]
            for table in tables:
                for row in db.execute(f"SELECT * FROM {table}"):
                    found.extend(row)
    hashes = [value for value in found if isinstance(value, bytes) and len(value) >= 16]
    assert hashes
    for secret in place.secrets.values():
        assert not any(secret in str(value) for value in found)
        assert not any(secret.encode() in value for value in hashes)
    head = place.secrets[ANN].rpartition("_")[0]
    for value in hashes:
        for spelt in (bytes.hex, base64.b64encode, base64.urlsafe_b64encode):
            text = spelt(value)
            plain = text if isinstance(text, str) else text.decode()
            for secret in (plain, f"gbk_{plain}", f"{head}_{plain}"):
                assert UNKNOWN == await ended_by(whoami(place, bearer(secret)))


async def test_another_scheme_or_two_credentials_are_refused(place: Guarded) -> None:
    """Basic, no scheme, a key twice, a good one beside a bad one."""
    secret, other = place.secrets[ANN], place.secrets[ADA]
    for metadata in (
        (("authorization", f"Basic {base64.b64encode(secret.encode()).decode()}"),),
        (("authorization", f"Bearer {secret}"), ("x-api-key", other)),
        (("authorization", f"Bearer {secret} {other}"),),
        (("authorization", "Bearer"),),
        (("x-goog-api-key", secret),),
        (("cookie", f"authorization={secret}"),),
    ):
        assert UNKNOWN == await ended_by(whoami(place, metadata))


async def test_a_key_in_an_address_is_no_credential(place: Guarded) -> None:
    """Addresses are kept by proxies and logs; nor do other spellings of a path help."""
    secret = place.secrets[ADA]
    async with aiohttp.ClientSession() as session:
        for path in (f"/metrics?key={secret}", "//metrics", "/%6detrics", "/healthz/../metrics"):
            async with session.get(f"{place.server.web}{path}") as answer:
                assert 401 == answer.status, path
        header = {"Authorization": f"Bearer {secret}"}
        async with session.get(f"{place.server.web}/metrics", headers=header) as answer:
            assert (200, False) == (answer.status, secret in await answer.text())


async def test_tokens_are_no_credentials_where_they_are_not_configured(place: Guarded) -> None:
    """None, HMAC by whatever a stranger may know."""
    claims = {"sub": "ada", "tenant": "house", "roles": ["admin"], "exp": 4_000_000_000}
    unsigned = f"{segment({'alg': 'none'})}.{segment(claims)}."
    body = f"{segment({'alg': 'HS256'})}.{segment(claims)}"
    mac = hmac.digest(b"", body.encode(), hashlib.sha256)
    signed = f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    for token in (unsigned, signed):
        assert UNKNOWN == await ended_by(whoami(place, bearer(token)))


async def test_what_is_another_tenants_is_not_there(place: Guarded) -> None:
    """Sessions: read, list, delete, export, talk in; not even for another one of the tenant."""
    stub: Any = session_service_pb2_grpc.SessionServiceStub(place.channel)
    mine = await stub.CreateSession(
        session_service_pb2.CreateSessionRequest(session_id="secret"), metadata=place.key(ANN)
    )
    name = mine.session.name
    for who in (EVE, BOB, ADA):
        key = place.key(who)
        get = stub.GetSession(session_service_pb2.GetSessionRequest(name=name), metadata=key)
        assert NOT_FOUND == await ended_by(get)
        delete = session_service_pb2.DeleteSessionRequest(name=name)
        assert NOT_FOUND == await ended_by(stub.DeleteSession(delete, metadata=key))
        export = session_service_pb2.ExportSessionRequest(name=name)
        assert NOT_FOUND == await ended_by(stub.ExportSession(export, metadata=key).read())
        assert NOT_FOUND == await ended_by(process(place, key, session=name))
        listed = await stub.ListSessions(session_service_pb2.ListSessionsRequest(), metadata=key)
        assert [] == list(listed.sessions)
    get = stub.GetSession(session_service_pb2.GetSessionRequest(name=name), metadata=place.key(ANN))
    assert OK == await ended_by(get)


async def test_executions_of_others_cannot_be_seen_stopped_or_resumed(place: Guarded) -> None:
    """By their names, which are no secrets."""
    stub: Any = execute_service_pb2_grpc.ExecuteServiceStub(place.channel)
    asked = pb.ExecuteRequest(
        prompt="mine alone", on_disconnect=pb.OnDisconnect(mode=pb.DISCONNECT_MODE_KEEP)
    )
    call = stub.Execute(asked, metadata=place.key(ANN))
    events = [event async for event in call]
    name = events[0].execution
    for who in (EVE, BOB, ADA):
        key = place.key(who)
        get = stub.GetExecution(pb.GetExecutionRequest(name=name), metadata=key)
        assert NOT_FOUND == await ended_by(get)
        cancel = stub.CancelExecution(pb.CancelExecutionRequest(name=name), metadata=key)
        assert NOT_FOUND == await ended_by(cancel)
        listed = await stub.ListExecutions(pb.ListExecutionsRequest(), metadata=key)
        assert name not in {one.name for one in listed.executions}
        again = pb.ExecuteRequest(resume=pb.Resume(execution=name))
        assert NOT_FOUND == await ended_by(stub.Execute(again, metadata=key).read())
    again = pb.ExecuteRequest(resume=pb.Resume(execution=name))
    resumed = [event async for event in stub.Execute(again, metadata=place.key(ANN))]
    assert [event.sequence for event in events] == [event.sequence for event in resumed]


async def test_cached_answers_stay_within_their_tenant(place: Guarded) -> None:
    """The same question is answered from the cache for the tenant, and anew for another one."""
    cold = GenerationConfig(temperature=0)
    asked = {"prompt": "the same for all", "generation_config": cold}
    first = await process(place, place.key(ANN), **asked)
    second = await process(place, place.key(BOB), **asked)
    foreign = await process(place, place.key(EVE), **asked)
    hit = pb.CACHE_STATUS_HIT
    assert (False, True, False) == (
        first.started.cache_status == hit,
        second.started.cache_status == hit,
        foreign.started.cache_status == hit,
    )


async def test_administration_is_for_admins(place: Guarded) -> None:
    """Of keys, upstream keys, configuration, audit log: refused by role, before the fields."""
    keys: Any = key_service_pb2_grpc.KeyServiceStub(place.channel)
    upstream: Any = upstream_key_service_pb2_grpc.UpstreamKeyServiceStub(place.channel)
    audit: Any = audit_service_pb2_grpc.AuditServiceStub(place.channel)
    config: Any = config_service_pb2_grpc.ConfigServiceStub(place.channel)
    calls = [
        (keys.CreateApiKey, key_service_pb2.CreateApiKeyRequest()),
        (keys.GetApiKey, key_service_pb2.GetApiKeyRequest()),
        (keys.ListApiKeys, key_service_pb2.ListApiKeysRequest(page_size=-1)),
        (keys.RotateApiKey, key_service_pb2.RotateApiKeyRequest()),
        (keys.RevokeApiKey, key_service_pb2.RevokeApiKeyRequest()),
        (upstream.CreateUpstreamKey, upstream_key_service_pb2.CreateUpstreamKeyRequest()),
        (upstream.ListUpstreamKeys, upstream_key_service_pb2.ListUpstreamKeysRequest()),
        (upstream.DeleteUpstreamKey, upstream_key_service_pb2.DeleteUpstreamKeyRequest()),
        (audit.ListAuditEntries, audit_service_pb2.ListAuditEntriesRequest()),
        (audit.VerifyAuditLog, audit_service_pb2.VerifyAuditLogRequest()),
        (config.GetConfig, config_service_pb2.GetConfigRequest()),
        (config.UpdateConfig, config_service_pb2.UpdateConfigRequest()),
    ]
    for call, request in calls:
        assert FORBIDDEN == await ended_by(call(request, metadata=place.key(ANN)))
        assert UNKNOWN == await ended_by(call(request, metadata=NO_KEY))
    listed = await keys.ListApiKeys(key_service_pb2.ListApiKeysRequest(), metadata=place.key(ADA))
    assert set(KEYS) == {f"{one.tenant}/{one.principal}" for one in listed.keys}
    assert not any(secret in str(listed) for secret in place.secrets.values())


async def test_health_and_reflection_are_open_and_nothing_else_is(place: Guarded) -> None:
    """What does not exist is not told to strangers either."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - for this test alone

    health: Any = health_pb2_grpc.HealthStub(place.channel)
    assert OK == await ended_by(health.Check(health_pb2.HealthCheckRequest()))
    nothing = place.channel.unary_unary("/gemini.backend.v1.NoService/Nothing")
    assert UNKNOWN == await ended_by(nothing(b""))
    assert ("UNIMPLEMENTED", "BACKEND_NOT_IMPLEMENTED") == await ended_by(
        nothing(b"", metadata=place.key(ANN))
    )


async def test_no_key_is_echoed_logged_or_measured(place: Guarded) -> None:
    """Whatever a caller does with it: as a prompt's label, as a model, as a request's id."""
    secret = place.secrets[ANN]
    for fields in ({"model": secret}, {"session": secret}, {"labels": {"key": secret[:63]}}):
        assert secret not in (await ended(process(place, place.key(ANN), **fields))).said
    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {place.secrets[ADA]}"}
        async with session.get(f"{place.server.web}/metrics", headers=headers) as answer:
            metrics = await answer.text()
    for one in place.secrets.values():
        assert one not in metrics
        assert one not in place.server.log()


async def test_log_lines_say_who_and_cannot_be_forged(place: Guarded) -> None:
    """Line ends in what a caller sends do not begin a line."""
    await ended_by(process(place, place.key(ANN), request_id='x"\n{"event": "forged"}\r\n'))
    await ended_by(process(place, (*place.key(ANN), ("x-note", "a b"))))
    await asyncio.sleep(0.1)
    lines = [json.loads(line) for line in place.server.log().splitlines() if line[:1] == "{"]
    assert "forged" not in {line.get("event") for line in lines}
    calls = [line for line in lines if line.get("event") == "rpc"]
    assert {"acme"} <= {line.get("tenant") for line in calls}
    assert {"ann"} <= {line.get("principal") for line in calls}


async def test_whoever_is_nobody_is_counted_and_logged_as_nobody(place: Guarded) -> None:
    """Not as a tenant that there is: `other` in the metrics, no tenant in the log."""
    assert UNKNOWN == await ended_by(process(place, NO_KEY, request_id="from-nobody"))
    await asyncio.sleep(0.1)  # the end of a call is counted and logged after its status has left
    headers = {"Authorization": f"Bearer {place.secrets[ADA]}"}
    async with aiohttp.request("GET", f"{place.server.web}/metrics", headers=headers) as answer:
        metrics = await answer.text()
    refused = r'gemini_backend_tenant_rpcs_total\{code="UNAUTHENTICATED",tenant="(\w+)"'
    assert {"other"} == set(re.findall(refused, metrics))
    lines = [json.loads(line) for line in place.server.log().splitlines() if line[:1] == "{"]
    (line,) = (line for line in lines if line.get("request_id") == "from-nobody")
    assert (None, None) == (line.get("tenant"), line.get("principal"))


@pytest.mark.parametrize(
    "name",
    ["os.environ/GEMINI_API_KEY", "${GEMINI_API_KEY}", "$GEMINI_API_KEY", "env://GEMINI_API_KEY"],
)
async def test_the_name_of_a_secret_is_not_resolved(place: Guarded, name: str) -> None:
    """A text that looks like a reference to the environment or a file stays what it is."""
    keys: Any = key_service_pb2_grpc.KeyServiceStub(place.channel)
    asked = key_service_pb2.ApiKey(tenant="acme", display_name=name)
    made = await keys.CreateApiKey(
        key_service_pb2.CreateApiKeyRequest(key=asked), metadata=place.key(ADA)
    )
    assert name == made.key.display_name
    upstream: Any = upstream_key_service_pb2_grpc.UpstreamKeyServiceStub(place.channel)
    stored = await upstream.CreateUpstreamKey(
        upstream_key_service_pb2.CreateUpstreamKeyRequest(key=name), metadata=place.key(ADA)
    )
    digest = hashlib.sha256(name.encode()).hexdigest()
    assert digest.startswith(stored.upstream_key.name.removeprefix("upstreamKeys/"))


async def test_headers_cannot_be_injected(place: Guarded) -> None:
    """GRPC's own rules; a page refuses them as well."""
    host, port = place.server.ports["web"].rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: a\rAuthorization: Bearer b\r\n\r\n")
    assert b" 400 " in await reader.readline()
    writer.close()


@asynccontextmanager
async def _held_stream(place: Guarded, who: str) -> AsyncIterator[Any]:
    stub: Any = execute_service_pb2_grpc.ExecuteServiceStub(place.channel)
    call = stub.Execute(pb.ExecuteRequest(prompt="long " * 200), metadata=place.key(who))
    yield call
    call.cancel()


async def test_a_revoked_key_ends_its_streams_and_is_refused(tmp_path: Path) -> None:
    """By the service, at once; streams of others go on."""
    async with (
        simulating("--chunk-delay", "2") as api,
        guarded(
            tmp_path, KEYS, UPSTREAM__GEMINI__BASE_URL=api.http, UPSTREAM__GEMINI__API_KEYS="k" * 39
        ) as place,
    ):
        keys: Any = key_service_pb2_grpc.KeyServiceStub(place.channel)
        listed = await keys.ListApiKeys(
            key_service_pb2.ListApiKeysRequest(), metadata=place.key(ADA)
        )
        name = next(one.name for one in listed.keys if one.principal == "ann")
        async with _held_stream(place, ANN) as ann, _held_stream(place, BOB) as bob:
            ours, theirs = aiter(ann), aiter(bob)
            await anext(ours)
            await anext(theirs)
            await keys.RevokeApiKey(
                key_service_pb2.RevokeApiKeyRequest(name=name), metadata=place.key(ADA)
            )

            async def to_the_end() -> None:
                async for _ in ours:
                    pass

            assert UNKNOWN == await asyncio.wait_for(ended_by(to_the_end()), 2)
            assert (await anext(theirs)).sequence > 0
        assert UNKNOWN == await ended_by(whoami(place, place.key(ANN)))
