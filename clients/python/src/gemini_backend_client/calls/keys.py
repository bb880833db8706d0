"""API keys of callers, for both clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

from gemini.backend.v1.key_service_pb2 import (
    ApiKey,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    GetApiKeyRequest,
    ListApiKeysRequest,
    RevokeApiKeyRequest,
    Role,
    RotateApiKeyRequest,
    RotateApiKeyResponse,
)
from gemini_backend_client.calls.plan import Pages, Surface, Unary, operation
from gemini_backend_client.connection import DEFAULT, Link

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from google.protobuf.duration_pb2 import Duration

    from gemini.backend.v1.key_service_pb2 import PrincipalLimits
    from gemini_backend_client.connection import Timeout

__all__ = ["KeyFields", "Keys"]

_Link = TypeVar("_Link", bound=Link)
_COLLECTION = "keys/"
_ROLE = "ROLE_"


class KeyFields(TypedDict, total=False):
    """Fields of `ApiKey` that may be set, where each is described."""

    principal: str
    allowed_models: Iterable[str]
    limits: PrincipalLimits | Mapping[str, int]
    display_name: str


class Keys(Surface[_Link]):
    """API keys; all of it requires the role `admin`."""

    @operation
    def create(
        self,
        tenant: str,
        roles: Iterable[str] = (),
        *,
        ttl: Duration | timedelta | None = None,
        timeout: Timeout = DEFAULT,
        **fields: Unpack[KeyFields],
    ) -> Unary[CreateApiKeyResponse]:
        """Make a key and return it with its `secret`, which is shown only this once.

        Args:
            tenant: tenant of its principal.
            roles: "caller", "viewer", "operator", "admin"; default: caller.
            ttl: how long it is accepted; default: for ever.
            timeout: seconds for the call; None for no limit.
            fields: further fields of `ApiKey`: principal, allowed_models, limits, display_name.

        Raises:
            ConflictError: when the tenant has a key of that principal.
            ValueError: for a role that does not exist.
        """
        values: dict[str, Any] = dict(fields)
        key = ApiKey(tenant=tenant, roles=[_role(role) for role in roles], **values)
        times: dict[str, Any] = {"ttl": ttl}
        request = CreateApiKeyRequest(key=key, **times)
        return Unary(self._link.stubs.keys.CreateApiKey, request, _as_it_is, timeout)

    @operation
    def get(self, name: str, *, timeout: Timeout = DEFAULT) -> Unary[ApiKey]:
        """Return a key, by its name or id, without its secret.

        Raises:
            NotFoundError: when there is none of that name.
        """
        request = GetApiKeyRequest(name=_name(name))
        return Unary(self._link.stubs.keys.GetApiKey, request, lambda one: one.key, timeout)

    @operation
    def list(
        self, *, tenant: str = "", include_inactive: bool = False, timeout: Timeout = DEFAULT
    ) -> Pages[ApiKey]:
        """List keys, newest first.

        Args:
            tenant: only those of this tenant; default: of all.
            include_inactive: whether revoked and expired ones are listed as well.
            timeout: seconds for each page; None for no limit.
        """
        request = ListApiKeysRequest(tenant=tenant, include_inactive=include_inactive)
        return Pages(self._link.stubs.keys.ListApiKeys, request, lambda page: page.keys, timeout)

    @operation
    def rotate(
        self,
        name: str,
        *,
        overlap: Duration | timedelta | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Unary[RotateApiKeyResponse]:
        """Give a key a new `secret`, which is shown only this once.

        Args:
            name: its name or id.
            overlap: how long the secret before is still accepted; default: an hour.
            timeout: seconds for the call; None for no limit.

        Raises:
            NotFoundError: when there is none of that name.
            ConflictError: when it is revoked or has expired.
        """
        times: dict[str, Any] = {"overlap": overlap}
        request = RotateApiKeyRequest(name=_name(name), **times)
        return Unary(self._link.stubs.keys.RotateApiKey, request, _as_it_is, timeout)

    @operation
    def revoke(self, name: str, *, timeout: Timeout = DEFAULT) -> Unary[ApiKey]:
        """Revoke a key for good; its open streams end.

        Raises:
            NotFoundError: when there is none of that name.
        """
        request = RevokeApiKeyRequest(name=_name(name))
        return Unary(self._link.stubs.keys.RevokeApiKey, request, lambda one: one.key, timeout)


def _name(name: str) -> str:
    """Return `keys/{id}` for an id, and a full name as it is."""
    return name if name.startswith(_COLLECTION) else f"{_COLLECTION}{name}"


def _role(name: str) -> Role.ValueType:
    """Return the role of that name, in either spelling.

    Raises:
        ValueError: when there is none.
    """
    return Role.Value(f"{_ROLE}{name.upper().removeprefix(_ROLE)}")


def _as_it_is(message: Any) -> Any:
    return message
