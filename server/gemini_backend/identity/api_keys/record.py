"""What is kept of an API key: everything but its secret. Times are seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from gemini_backend.principal import NO_LIMITS, AuthMethod, Limits, Principal, Role, granted

_NO_MODELS = "[]"
_BY_WORD = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be made.

    Attributes:
        tenant: Tenant of its principal.
        principal: Name of its principal; empty for the id of the key.
        roles: Its roles, at least one.
        models: Models that it may use, as names or patterns with `*`; empty for all.
        limits: Its own limits.
        display_name: What it is for.
        expires: When it ceases to be accepted; None for never.
    """

    tenant: str
    principal: str = ""
    roles: tuple[Role, ...] = (Role.CALLER,)
    models: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    display_name: str = ""
    expires: float | None = None


class Cursor(NamedTuple):
    """The last key of a page: when it was created, and its id."""

    created: float
    key: str


class KeyRecord(NamedTuple):
    """A row of the store; its fields are the columns.

    Attributes:
        key: Public id.
        tenant: Tenant of its principal.
        principal: Name of its principal.
        roles: Words of its roles, with spaces between them.
        models: Models that it may use, as a JSON array.
        requests_per_minute: Limit; None for what the configuration says, 0 for none.
        tokens_per_minute: Limit; likewise.
        display_name: What it is for.
        created: When it was created.
        expires: When it ceases to be accepted; None for never.
        used: When it was last used, exact to about a minute; None for never.
        rotated: When its secret was last rotated; None for never.
        revoked: When it was revoked; None if it was not.
        digest: Keyed hash of its secret.
        previous: Keyed hash of the secret before; None for none.
        previous_expires: When that one ceases to be accepted; None if there is none.
    """

    key: str
    tenant: str
    principal: str
    roles: str
    models: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    display_name: str
    created: float
    expires: float | None
    used: float | None
    rotated: float | None
    revoked: float | None
    digest: bytes
    previous: bytes | None
    previous_expires: float | None

    def expired(self, now: float) -> bool:
        """Return whether its time is over."""
        return self.expires is not None and now >= self.expires

    @property
    def limits(self) -> Limits:
        """Its own limits."""
        return Limits(self.requests_per_minute, self.tokens_per_minute)

    @property
    def role_list(self) -> tuple[Role, ...]:
        """Its roles; a word that this version does not know grants nothing."""
        return tuple(_BY_WORD[word] for word in self.roles.split() if word in _BY_WORD)

    @property
    def model_list(self) -> tuple[str, ...]:
        """Models that it may use; empty for all.

        Raises:
            msgspec.DecodeError: somebody has changed the store by hand.
        """
        return () if self.models == _NO_MODELS else msgspec.json.decode(self.models, type=_MODELS)


_MODELS = tuple[str, ...]


class Rights(NamedTuple):
    """What a principal is made of; equal rights keep the same principal."""

    tenant: str
    principal: str
    roles: str
    models: tuple[str, ...]
    requests_per_minute: int | None
    tokens_per_minute: int | None
    expires: float | None


def rights_of(record: KeyRecord) -> Rights:
    """Return the rights of a key.

    Raises:
        msgspec.DecodeError: somebody has changed the store by hand.
    """
    return Rights(
        record.tenant,
        record.principal,
        record.roles,
        record.model_list,
        record.requests_per_minute,
        record.tokens_per_minute,
        record.expires,
    )


def principal_of(key: str, rights: Rights) -> Principal:
    """Return the principal of the key with this id."""
    roles = (_BY_WORD[word] for word in rights.roles.split() if word in _BY_WORD)
    return Principal(
        tenant=rights.tenant,
        name=rights.principal,
        roles=granted(*roles),
        models=rights.models,
        limits=Limits(rights.requests_per_minute, rights.tokens_per_minute),
        method=AuthMethod.API_KEY,
        api_key=key,
        expires=rights.expires,
    )


def models_text(models: tuple[str, ...]) -> str:
    """Return a list of models as it is kept."""
    return msgspec.json.encode(models).decode()
