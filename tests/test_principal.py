"""Principals: roles, owners, models that they may use."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.principal import (
    ALL_ROLES,
    ANONYMOUS,
    UNKNOWN,
    Limits,
    Owner,
    Principal,
    Role,
    granted,
)


@pytest.mark.parametrize(
    ("role", "included"),
    [
        (Role.CALLER, {Role.CALLER}),
        (Role.VIEWER, {Role.VIEWER}),
        (Role.OPERATOR, {Role.OPERATOR, Role.VIEWER}),
        (Role.ADMIN, set(Role)),
    ],
)
def test_a_role_includes_those_below_it(role: Role, included: set[Role]) -> None:
    """An operator views; an admin may everything; nobody else may spend money."""
    assert included == role.grants
    assert included | {Role.CALLER} == granted(role, Role.CALLER)


def test_everybody_is_the_admin_where_nobody_is_asked() -> None:
    """Without authentication; whoever is unknown where it is asked for has no role."""
    assert ("default", "anonymous", ALL_ROLES) == (
        ANONYMOUS.tenant,
        ANONYMOUS.name,
        ANONYMOUS.roles,
    )
    assert frozenset() == UNKNOWN.roles


@given(st.text(), st.text(), st.text(), st.text())
def test_owners_are_equal_if_tenant_and_name_are(a: str, b: str, c: str, d: str) -> None:
    """No two principals share an owner because their texts together are the same."""
    assert ((a, b) == (c, d)) == (Principal(a, b).owner == Principal(c, d).owner)
    assert Owner(a, b) == Principal(a, b, limits=Limits(1), models=("x",)).owner


@pytest.mark.parametrize(
    ("models", "model", "may"),
    [
        ((), "models/any", True),
        (("gemini-flash",), "models/gemini-flash", True),
        (("models/gemini-flash",), "gemini-flash", True),
        (("gemini-flash",), "models/gemini-flash-lite", False),
        (("gemini-*-flash",), "models/gemini-3.5-flash", True),
        (("gemini-*-flash",), "models/gemini-3.5-flash-lite", False),
        (("gemini.flash",), "models/geminixflash", False),
        (("a", "b*"), "models/bc", True),
        (("gemini-flash",), "models/gemini-flash\n", False),
        (("tunedModels/mine",), "tunedModels/mine", True),
        (("mine",), "tunedModels/mine", False),
        (("",), "models/any", False),
        (("*",), "models/any", True),
        (("*a*a", "ab*b"), "aba", True),
        (("ab*ba",), "aba", False),
        (("*ab*ab",), "abab", True),
        (("*ab*ab",), "ab", False),
    ],
)
def test_models_are_allowed_by_name_or_pattern(
    models: tuple[str, ...], model: str, may: bool
) -> None:
    """A `*` stands for any characters, everything else for itself, from the first to the last."""
    assert may == Principal(models=models).may_use(model)


def test_many_stars_cost_no_more_than_few() -> None:
    """No `*` is tried at a second place: that would hold up all calls, for minutes."""
    assert not Principal(models=("*a" * 75 + "*b",)).may_use("a" * 128)
