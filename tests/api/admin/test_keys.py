"""KeyService, on a store in a folder.

Covers: api/admin/key_messages.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec.structs import replace

from gemini.backend.v1 import key_service_pb2 as pb
from gemini_backend.api.admin.keys import KeyService
from gemini_backend.errors import AlreadyExists, Conflict, InvalidRequest, UnknownResource
from gemini_backend.principal import AuthMethod, Limits, Principal, Role, granted
from tests.support.identity.key_desk import EPOCH, KeyDesk
from tests.support.messages.calls import make_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.clock import FakeClock


class Office:
    """The servicer, and the keys that it administers."""

    def __init__(self, folder: Path, clock: FakeClock) -> None:
        self.clock = clock
        self.desk = KeyDesk(folder, clock)
        self.servicer = KeyService(self.desk.keys, self.desk.wall)

    async def ask(self, method: str, request: Any, who: Principal | None = None) -> Any:
        call = make_call(self.clock)
        call = call if who is None else replace(call, principal=who)
        return await getattr(self.servicer, method)(call, request)

    async def create(self, tenant: str = "acme", **fields: Any) -> pb.CreateApiKeyResponse:
        ttl = fields.pop("ttl", None)
        key = pb.ApiKey(tenant=tenant, **fields)
        made: pb.CreateApiKeyResponse = await self.ask(
            "CreateApiKey", pb.CreateApiKeyRequest(key=key, ttl=ttl)
        )
        return made

    async def listed(self, **fields: Any) -> list[str]:
        """Return the names of all pages."""
        request, found = pb.ListApiKeysRequest(**fields), []
        while True:
            page = await self.ask("ListApiKeys", request)
            found += [key.name for key in page.keys]
            request.page_token = page.next_page_token
            if not request.page_token:
                return found


@pytest.fixture
async def office(tmp_path: Path, clock: FakeClock) -> AsyncIterator[Office]:
    """A servicer without any key yet."""
    made = Office(tmp_path, clock)
    yield made
    await made.desk.aclose()


async def test_a_key_is_made_as_it_was_asked_for(office: Office) -> None:
    """What an administrator may set is kept; what only the server sets is the server's."""
    asked = {
        "principal": "ann",
        "roles": [pb.ROLE_VIEWER, pb.ROLE_CALLER, pb.ROLE_VIEWER],
        "allowed_models": ["models/gemini-*-flash"],
        "limits": pb.PrincipalLimits(requests_per_minute=0, tokens_per_minute=9),
        "display_name": "Ann",
    }
    made = await office.create(
        name="keys/mine", state=pb.API_KEY_STATE_REVOKED, ttl=Duration(seconds=60), **asked
    )
    key = made.key
    assert made.secret.startswith(f"gbk_{key.name.removeprefix('keys/')}_")
    assert [pb.ROLE_VIEWER, pb.ROLE_CALLER] == key.roles
    assert ("acme", "ann", ["models/gemini-*-flash"], asked["limits"], "Ann") == (
        key.tenant,
        key.principal,
        key.allowed_models,
        key.limits,
        key.display_name,
    )
    now = int(EPOCH + office.clock.now())
    assert (pb.API_KEY_STATE_ACTIVE, now, now + 60, "keys/mine" != key.name) == (
        key.state,
        key.create_time.seconds,
        key.expire_time.seconds,
        True,
    )
    read = await office.ask("GetApiKey", pb.GetApiKeyRequest(name=key.name))
    assert key == read.key
    assert made.secret[17:] not in str(read)


async def test_what_is_not_asked_for_has_defaults(office: Office) -> None:
    """A key without roles is a caller's; its principal is named after it; it never expires."""
    key = (await office.create()).key
    assert ([pb.ROLE_CALLER], key.name.removeprefix("keys/")) == (key.roles, key.principal)
    absent = ("limits", "expire_time", "last_use_time", "rotate_time", "revoke_time")
    assert [] == [field for field in absent if key.HasField(field)]


async def test_a_key_that_has_expired_already_is_refused(office: Office) -> None:
    """The time is named as the field that is wrong; a lifetime outranks it."""
    now = int(office.desk.wall())
    with pytest.raises(InvalidRequest, match="set a time in the future") as failed:
        await office.create(expire_time=Timestamp(seconds=now))
    assert ["key.expire_time"] == [one.field for one in failed.value.violations]
    later = await office.create(expire_time=Timestamp(seconds=now + 9))
    assert now + 9 == later.key.expire_time.seconds
    both = await office.create(expire_time=Timestamp(seconds=1), ttl=Duration(seconds=5))
    assert now + 5 == both.key.expire_time.seconds


async def test_a_principal_has_one_key(office: Office) -> None:
    """A second one of that name is refused."""
    await office.create(principal="ann")
    with pytest.raises(AlreadyExists, match="rotate that one"):
        await office.create(principal="ann")


async def test_keys_are_listed_newest_first(office: Office) -> None:
    """All pages together are all keys, of one tenant or of all."""
    made = []
    for number in range(5):
        made.append((await office.create("acme" if number % 2 else "other")).key.name)
        await office.clock.advance(1)
    assert made[::-1] == await office.listed(page_size=2)
    assert [made[3], made[1]] == await office.listed(tenant="acme", page_size=1)
    assert [] == await office.listed(tenant="nobody")


async def test_keys_that_have_ended_are_listed_if_asked_for(office: Office) -> None:
    """Their state says why."""
    short = (await office.create(ttl=Duration(seconds=1))).key.name
    gone = (await office.create()).key.name
    await office.ask("RevokeApiKey", pb.RevokeApiKeyRequest(name=gone))
    await office.clock.advance(1)
    assert [] == await office.listed()
    page = await office.ask("ListApiKeys", pb.ListApiKeysRequest(include_inactive=True))
    assert {short: pb.API_KEY_STATE_EXPIRED, gone: pb.API_KEY_STATE_REVOKED} == {
        key.name: key.state for key in page.keys
    }


async def test_a_page_token_of_elsewhere_is_refused(office: Office) -> None:
    """One of another request is, and so is one that was tampered with."""
    for _ in range(2):
        await office.create()
    page = await office.ask("ListApiKeys", pb.ListApiKeysRequest(page_size=1))
    token = page.next_page_token
    for request in (
        pb.ListApiKeysRequest(page_token=token, tenant="acme"),
        pb.ListApiKeysRequest(page_token="x" + token),
        pb.ListApiKeysRequest(page_token=token[:20]),
    ):
        with pytest.raises(InvalidRequest):
            await office.ask("ListApiKeys", request)


async def test_a_rotated_key_keeps_all_but_its_secret(office: Office) -> None:
    """The secret before is accepted for an hour, or as long as is said."""
    made = await office.create(principal="ann")
    rotated = await office.ask("RotateApiKey", pb.RotateApiKeyRequest(name=made.key.name))
    now = int(office.desk.wall())
    assert (now, now + 3600) == (
        rotated.key.rotate_time.seconds,
        rotated.key.previous_expire_time.seconds,
    )
    assert ("ann", made.key.name) == (rotated.key.principal, rotated.key.name)
    owners = {(await office.desk.keys.verify(one.secret)).owner for one in (made, rotated)}
    assert {("acme", "ann")} == owners
    none = Duration(seconds=0)
    last = await office.ask(
        "RotateApiKey", pb.RotateApiKeyRequest(name=made.key.name, overlap=none)
    )
    assert not last.key.HasField("previous_expire_time")
    assert (None, True) == (
        office.desk.keys.known(rotated.secret),
        bool(office.desk.keys.known(last.secret)),
    )


async def test_a_revoked_key_is_not_rotated(office: Office) -> None:
    """It is a conflict; and a second revocation changes nothing."""
    name = (await office.create()).key.name
    first = await office.ask("RevokeApiKey", pb.RevokeApiKeyRequest(name=name))
    assert pb.API_KEY_STATE_REVOKED == first.key.state
    await office.clock.advance(5)
    assert first == await office.ask("RevokeApiKey", pb.RevokeApiKeyRequest(name=name))
    with pytest.raises(Conflict, match="create another key"):
        await office.ask("RotateApiKey", pb.RotateApiKeyRequest(name=name))


@pytest.mark.parametrize(
    "request_",
    [pb.GetApiKeyRequest, pb.RotateApiKeyRequest, pb.RevokeApiKeyRequest],
    ids=lambda kind: kind.__name__,
)
async def test_an_unknown_key_is_not_found(office: Office, request_: Any) -> None:
    """Whatever is to be done with it."""
    method = request_.__name__.removesuffix("Request")
    with pytest.raises(UnknownResource, match="keys/nobody"):
        await office.ask(method, request_(name="keys/nobody"))


async def test_who_am_i_says_how_the_server_sees_the_caller(office: Office) -> None:
    """Anonymous, by a key, or by another method."""
    anonymous = (await office.ask("WhoAmI", pb.WhoAmIRequest())).principal
    assert ("default", "anonymous", pb.AUTH_METHOD_UNSPECIFIED, 4, "") == (
        anonymous.tenant,
        anonymous.name,
        anonymous.method,
        len(anonymous.roles),
        anonymous.api_key,
    )
    who = Principal(
        "acme",
        "ann",
        roles=granted(Role.OPERATOR),
        models=("models/a",),
        limits=Limits(1, None),
        method=AuthMethod.API_KEY,
        api_key="abc",
        expires=5.0,
    )
    expected = pb.Principal(
        tenant="acme",
        name="ann",
        roles=[pb.ROLE_VIEWER, pb.ROLE_OPERATOR],
        method=pb.AUTH_METHOD_API_KEY,
        allowed_models=["models/a"],
        limits=pb.PrincipalLimits(requests_per_minute=1),
        api_key="keys/abc",
        expire_time=Timestamp(seconds=5),
    )
    assert expected == (await office.ask("WhoAmI", pb.WhoAmIRequest(), who)).principal
