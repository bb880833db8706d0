"""Claims become a principal."""

from __future__ import annotations

from typing import Any

import pytest

from gemini_backend.config.sections.auth import JwtOptions
from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.names import is_principal
from gemini_backend.identity.tokens.principals import MAX_MODELS, principal_by
from gemini_backend.principal import ALL_ROLES, AuthMethod, Principal, Role, granted

LOOK_ALIKE = "аcme"  # noqa: RUF001 - begins with a Cyrillic letter


def principal(claims: dict[str, Any], **options: Any) -> Principal:
    """Return whom claims stand for."""
    return principal_by({"sub": "alice", "tenant": "acme", **claims}, JwtOptions(**options), 7.0)


def test_claims_become_a_principal() -> None:
    """Tenant, name, roles with those that they include, models, and the time that it has."""
    found = principal(
        {"roles": ["operator"], "m": ["models/a", "b*"]}, models_claim="m", default_role=""
    )
    expected = Principal(
        "acme",
        "alice",
        granted(Role.OPERATOR),
        ("models/a", "b*"),
        method=AuthMethod.JWT,
        expires=7.0,
    )
    assert expected == found


@pytest.mark.parametrize(
    ("claims", "path", "expected"),
    [
        ({"org": {"id": "t1"}}, "org.id", "t1"),
        ({"https://acme.com/tenant": "t2"}, "https://acme.com/tenant", "t2"),
        ({"org.id": "whole", "org": {"id": "nested"}}, "org.id", "whole"),
        ({}, "", "default"),
    ],
)
def test_where_the_tenant_is(claims: dict[str, Any], path: str, expected: str) -> None:
    """A claim of the whole name, otherwise dots lead into objects; `default` without a claim."""
    assert expected == principal(claims, tenant_claim=path).tenant


@pytest.mark.parametrize(
    "tenant",
    [None, "", " acme", "acme ", "acme\n", "a/b", "*", "..", LOOK_ALIKE, "x" * 65, 1, ["acme"], {}],
)
def test_a_tenant_must_fit(tenant: object) -> None:
    """A tenant that cannot be one is refused, never made to fit: it could be another's."""
    with pytest.raises(Unauthenticated, match="tenant"):
        principal({"tenant": tenant})


@pytest.mark.parametrize("path", ["a.b", "sub.x", "list.0"])
def test_a_path_that_leads_nowhere_is_a_missing_claim(path: str) -> None:
    """Texts and lists on the way have no claims in them."""
    with pytest.raises(Unauthenticated):
        principal({"list": ["acme"]}, tenant_claim=path)


def test_names_that_do_not_fit_stay_apart() -> None:
    """`auth0|x` and `auth0-x` are two principals, and both names fit."""
    spelled = ["auth0|x", "auth0-x", "auth0/x", "auth0 x", "x" * 65, "x" * 66]
    names = {principal({"sub": one}).name for one in spelled}
    assert len(spelled) == len(names)
    assert all(map(is_principal, names))


@pytest.mark.parametrize("name", [None, "", 1, ["alice"], {"alice": 1}, True])
def test_a_name_must_be_a_text(name: object) -> None:
    """A subject that is missing or no text is refused."""
    with pytest.raises(Unauthenticated, match="sub"):
        principal({"sub": name})


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["caller", "viewer"], granted(Role.CALLER, Role.VIEWER)),
        ("openid viewer profile", granted(Role.VIEWER)),
        (["admin"], ALL_ROLES),
        (["Admin", " admin", "admin ", "ADMIN", 1, None, ["admin"]], granted(Role.CALLER)),
        ([], granted(Role.CALLER)),
        (None, granted(Role.CALLER)),
    ],
)
def test_roles(roles: object, expected: frozenset[Role]) -> None:
    """A list, or a text with spaces; words that are no roles are ignored; the default otherwise."""
    assert expected == principal({"roles": roles}).roles


@pytest.mark.parametrize("roles", [1, {"admin": True}, True])
def test_roles_of_another_type_are_refused(roles: object) -> None:
    """What is neither list nor text is refused."""
    with pytest.raises(Unauthenticated, match="roles"):
        principal({"roles": roles})


def test_without_role_and_default_it_is_refused() -> None:
    """No role that is known here, and no default role: refused."""
    with pytest.raises(Unauthenticated, match="roles"):
        principal({"roles": ["guest"]}, default_role="")


@pytest.mark.parametrize(
    "models", [None, [], "", 1, [""], [1], ["x" * 161], ["m"] * (MAX_MODELS + 1)]
)
def test_models_that_are_missing_are_not_all_models(models: object) -> None:
    """Where a claim names the models, a token without any of them is refused."""
    with pytest.raises(Unauthenticated, match="models"):
        principal({"models": models}, models_claim="models")


@pytest.mark.parametrize("models", [["m"], ["x" * 160], ["m"] * MAX_MODELS])
def test_models_up_to_the_bound_are_accepted(models: list[str]) -> None:
    """One model, a name of 160 characters, or as many as the bound."""
    assert tuple(models) == principal({"models": models}, models_claim="models").models


def test_without_a_claim_all_models_are_allowed() -> None:
    """Where no claim names the models, one of that name means nothing."""
    assert () == principal({"models": ["m"]}).models


def test_models_may_be_one_text() -> None:
    """A text separated by spaces is a list."""
    found = principal({"models": "models/a b"}, models_claim="models")
    assert ("models/a", "b") == found.models
