"""API keys and principals as the contract has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import key_service_pb2 as pb
from gemini_backend.durations import timestamp_of
from gemini_backend.identity.api_keys import NewKey
from gemini_backend.principal import AuthMethod, Limits, Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini_backend.identity.api_keys import KeyRecord
    from gemini_backend.principal import Principal

COLLECTION = "keys/"
_ROLES = {
    Role.CALLER: pb.ROLE_CALLER,
    Role.VIEWER: pb.ROLE_VIEWER,
    Role.OPERATOR: pb.ROLE_OPERATOR,
    Role.ADMIN: pb.ROLE_ADMIN,
}
_BY_NUMBER = {number: role for role, number in _ROLES.items()}
_METHODS = {
    AuthMethod.NONE: pb.AUTH_METHOD_UNSPECIFIED,
    AuthMethod.API_KEY: pb.AUTH_METHOD_API_KEY,
    AuthMethod.JWT: pb.AUTH_METHOD_JWT,
    AuthMethod.MTLS: pb.AUTH_METHOD_MTLS,
}


def message_of(record: KeyRecord, now: float) -> pb.ApiKey:
    """Return a key as it is shown at `now`, seconds since the epoch: without its hashes."""
    overlap = record.previous_expires
    return pb.ApiKey(
        name=f"{COLLECTION}{record.key}",
        tenant=record.tenant,
        principal=record.principal,
        roles=_roles(record.role_list),
        allowed_models=record.model_list,
        limits=_limits(record.limits),
        display_name=record.display_name,
        state=_state(record, now),
        create_time=timestamp_of(record.created),
        expire_time=timestamp_of(record.expires),
        last_use_time=timestamp_of(record.used),
        rotate_time=timestamp_of(record.rotated),
        previous_expire_time=timestamp_of(None if overlap is None or overlap <= now else overlap),
        revoke_time=timestamp_of(record.revoked),
    )


def new_key(asked: pb.ApiKey, expires: float | None) -> NewKey:
    """Return the key to be made that a valid message describes, without what the server sets."""
    limits = asked.limits
    return NewKey(
        tenant=asked.tenant,
        principal=asked.principal,
        roles=tuple(dict.fromkeys(_BY_NUMBER[role] for role in asked.roles)) or (Role.CALLER,),
        models=tuple(asked.allowed_models),
        limits=Limits(
            limits.requests_per_minute if limits.HasField("requests_per_minute") else None,
            limits.tokens_per_minute if limits.HasField("tokens_per_minute") else None,
        ),
        display_name=asked.display_name,
        expires=expires,
    )


def principal_message(principal: Principal) -> pb.Principal:
    """Return who asks, as the server sees it."""
    return pb.Principal(
        tenant=principal.tenant,
        name=principal.name,
        roles=_roles(role for role in Role if role in principal.roles),
        method=_METHODS[principal.method],
        allowed_models=principal.models,
        limits=_limits(principal.limits),
        api_key=f"{COLLECTION}{principal.api_key}" if principal.api_key else "",
        expire_time=timestamp_of(principal.expires),
    )


def _roles(roles: Iterable[Role]) -> list[pb.Role.ValueType]:
    return [_ROLES[role] for role in roles]


def _limits(limits: Limits) -> pb.PrincipalLimits | None:
    """Return limits; None where there are none of its own, which leaves the field unset."""
    if limits == Limits():
        return None
    return pb.PrincipalLimits(
        requests_per_minute=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
    )


def _state(record: KeyRecord, now: float) -> pb.ApiKeyState.ValueType:
    if record.revoked is not None:
        return pb.API_KEY_STATE_REVOKED
    return pb.API_KEY_STATE_EXPIRED if record.expired(now) else pb.API_KEY_STATE_ACTIVE
