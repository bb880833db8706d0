"""The guard of every door: authentication, then the role; before anything is validated."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from gemini_backend.errors import Forbidden, ServiceError, Unauthenticated
from gemini_backend.identity.access import ANY, PATHS, opened_by, roles_for
from gemini_backend.principal import UNKNOWN
from gemini_backend.telemetry.events import AccessRefused, AuthenticationRefused

if TYPE_CHECKING:
    from collections.abc import Collection

    from gemini_backend.identity.authenticator import Authenticator
    from gemini_backend.identity.credentials import Credentials
    from gemini_backend.principal import Principal, Role
    from gemini_backend.telemetry.events import Publisher


class Slow(Protocol):
    """Makes those wait who fail to authenticate."""

    async def failed(self, peer: str, /) -> None:
        """Wait as long as the failures of a peer, a host, deserve.

        Raises:
            ServiceError: too many wait already.
        """
        ...


class Guard:
    """Lets a call pass by who makes it and what it is.

    `action` is the path of an RPC, such as `/gemini.backend.v1.ConfigService/GetConfig`, or of a
    page, such as `/metrics`.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        opened: Collection[str],
        slowing: Slow,
        bus: Publisher,
    ) -> None:
        """Guard with these parts.

        Args:
            authenticator: Knows principals by their credentials.
            opened: What needs no authentication, as in `auth.open`.
            slowing: Delays the answers to failed authentication.
            bus: Where refusals are published.
        """
        self._authenticator = authenticator
        self._opened = frozenset(opened)
        self._slowing = slowing
        self._bus = bus

    def is_open(self, action: str) -> bool:
        """Return whether an action needs no authentication."""
        return opened_by(action) in self._opened

    def known(self, action: str, credentials: Credentials) -> Principal | None:
        """Return who may act, if that takes no waiting; None for `admit` to find out."""
        principal = self._authenticator.known(credentials)
        if principal is None or principal.roles.isdisjoint(_required(action)):
            return None
        return principal

    async def admit(self, action: str, credentials: Credentials) -> Principal:
        """Return who acts; where that needs no authentication, perhaps `UNKNOWN`.

        Raises:
            Unauthenticated: the credentials are missing or nobody's; after a delay that grows with
                the failures of the peer.
            Forbidden: the principal has none of the roles that are sufficient.
            ServiceError: the credentials cannot be verified now.
        """
        if self.is_open(action):
            return await self._whoever(credentials)
        try:
            principal = await self._authenticator.verify(credentials)
        except Unauthenticated as error:
            self._bus.publish(AuthenticationRefused(credentials.peer, action, str(error)))
            await self._slowing.failed(credentials.peer)
            raise
        required = _required(action)
        if principal.roles.isdisjoint(required):
            refusal = _forbidden(action, required, principal)
            tenant, name = principal.owner
            self._bus.publish(AccessRefused(tenant, name, credentials.peer, action, str(refusal)))
            raise refusal
        return principal

    async def _whoever(self, credentials: Credentials) -> Principal:
        """Return whose credentials these are; nobody's in particular where they are not good."""
        if not (credentials.bearer or credentials.api_key or credentials.certificate):
            return UNKNOWN
        try:
            return await self._authenticator.verify(credentials)
        except ServiceError:
            return UNKNOWN


# Of any path that somebody asks for: whoever invents paths takes no memory.
@lru_cache(maxsize=256)
def _required(action: str) -> frozenset[Role]:
    """Return the sufficient roles; an action that does not exist tells nobody unknown so."""
    return PATHS.get(action) or roles_for(action) or ANY


def _forbidden(action: str, required: frozenset[Role], principal: Principal) -> Forbidden:
    sufficient = " or ".join(sorted(role.value for role in required))
    held = ", ".join(sorted(role.value for role in principal.roles)) or "none"
    return Forbidden(
        f"{action} requires the role {sufficient}, and {principal.tenant}/{principal.name} has "
        f"{held}; use a credential with that role, or ask an admin for it"
    )
