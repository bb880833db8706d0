"""Claims of a verified token to its principal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.names import DEFAULT_TENANT, is_tenant, principal_of
from gemini_backend.principal import AuthMethod, Principal, Role, granted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gemini_backend.config.sections.auth import JwtOptions

_ROLES = {role.value: role for role in Role}
MAX_MODELS = 100
"""Most entries of the claim with the allowed models; a token with more is refused."""
_MAX_MODEL = 160


def principal_by(claims: Mapping[str, Any], options: JwtOptions, expires: float) -> Principal:
    """Return the principal that a token's claims stand for.

    Raises:
        Unauthenticated: tenant or name is missing or cannot be one; there is no role that is known
            here, and no default; the claim with the models is missing or allows none.
    """
    return Principal(
        tenant=_tenant(claims, options.tenant_claim),
        name=_name(claims, options.name_claim),
        roles=_roles(claims, options),
        models=_models(claims, options.models_claim),
        method=AuthMethod.JWT,
        expires=expires,
    )


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim by its whole name, or else by dots into nested objects; None without it."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def _tenant(claims: Mapping[str, Any], path: str) -> str:
    if not path:
        return DEFAULT_TENANT
    found = _claim(claims, path)
    if type(found) is not str or not is_tenant(found):
        raise _unfit(path, "1 to 64 letters, digits and `_ . -`")
    return found


def _name(claims: Mapping[str, Any], path: str) -> str:
    found = _claim(claims, path)
    if type(found) is not str or not found:
        raise _unfit(path, "a text")
    return principal_of(found)


def _roles(claims: Mapping[str, Any], options: JwtOptions) -> frozenset[Role]:
    found = _claim(claims, options.roles_claim)
    listed = found.split() if type(found) is str else found
    if listed is not None and type(listed) is not list:
        raise _unfit(options.roles_claim, "a list of texts, or one text separated by spaces")
    roles = [_ROLES[one] for one in listed or () if type(one) is str and one in _ROLES]
    if not roles and options.default_role:
        roles = [_ROLES[options.default_role]]
    if not roles:
        raise _unfit(options.roles_claim, f"at least one of {', '.join(_ROLES)}")
    return granted(*roles)


def _models(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    if not path:
        return ()
    found = _claim(claims, path)
    listed = found.split() if type(found) is str else found
    fits = type(listed) is list and all(
        type(one) is str and 0 < len(one) <= _MAX_MODEL for one in listed
    )
    if not fits or not 0 < len(listed) <= MAX_MODELS:  # an empty list would allow all models
        raise _unfit(path, f"a list of 1 to {MAX_MODELS} names of models")
    return tuple(listed)


def _unfit(path: str, what: str) -> Unauthenticated:
    msg = f"the claim {path} of the token must be {what}; have the issuer set it"
    return Unauthenticated(msg)
