"""Who asks: a principal of a tenant, what it may do, and what it owns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple


class Role(Enum):
    """What a principal may do; `identity/access.py` has what each RPC and path requires."""

    CALLER = "caller"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def grants(self) -> frozenset[Role]:
        """The roles that it includes, itself among them."""
        return _GRANTS[self]


_GRANTS = {
    Role.CALLER: frozenset({Role.CALLER}),
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.OPERATOR: frozenset({Role.OPERATOR, Role.VIEWER}),
    Role.ADMIN: frozenset(Role),
}
ALL_ROLES = frozenset(Role)


class AuthMethod(Enum):
    """How a principal was authenticated."""

    NONE = "none"
    API_KEY = "api_key"
    JWT = "jwt"
    MTLS = "mtls"


class Owner(NamedTuple):
    """Whose something is; the one key of all that is kept for somebody.

    What is shared within a tenant, such as cached answers, is kept by `tenant` alone; everything
    else by both. Nobody else can see it, nor that it exists.
    """

    tenant: str
    principal: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one principal; None for what the configuration says, 0 for no limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. Whatever is kept for one tenant is never shown to another.

    Attributes:
        tenant: The tenant.
        name: Name within the tenant; the same after its credential was rotated.
        roles: What it may do, included roles among them.
        models: Names of models that it may use, or patterns with `*`; empty for all.
        limits: Its own limits.
        method: How it was authenticated.
        api_key: Id of its API key; empty for none.
        expires: When its credential expires, seconds since the epoch; None for never.
        owner: Whose is what it makes.
    """

    tenant: str = "default"
    name: str = "anonymous"
    roles: frozenset[Role] = ALL_ROLES
    models: tuple[str, ...] = ()
    limits: Limits = NO_LIMITS
    method: AuthMethod = AuthMethod.NONE
    api_key: str = ""
    expires: float | None = None
    owner: Owner = field(init=False, compare=False, repr=False)
    _pattern: re.Pattern[str] | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Make what is asked for in each call once."""
        object.__setattr__(self, "owner", Owner(self.tenant, self.name))
        object.__setattr__(self, "_pattern", _pattern_of(self.models) if self.models else None)

    def may_use(self, model: str) -> bool:
        """Say whether it may use a model, by its name with or without `models/`."""
        return self._pattern is None or self._pattern.fullmatch(_bare(model)) is not None


ANONYMOUS = Principal()
"""Everybody, where no method of authentication is configured."""

UNKNOWN = Principal("", "", roles=frozenset())
"""Whoever has not been authenticated."""


def granted(*roles: Role) -> frozenset[Role]:
    """Return the roles with all that they include."""
    return frozenset().union(*(role.grants for role in roles))


def _bare(model: str) -> str:
    return model.removeprefix("models/")


def _pattern_of(models: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_expression_of(_bare(one)) for one in models), re.DOTALL)


def _expression_of(pattern: str) -> str:
    """Return a pattern as an expression that goes once through a name, and never back."""
    first, *others = map(re.escape, pattern.split("*"))
    if not others:
        return first
    *middle, last = others
    return first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}"
