"""What is a name, and what other texts are called."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.identity.names import is_principal, is_tenant, principal_of, tenant_of

LOOK_ALIKE = "аcme"  # noqa: RUF001 - begins with a Cyrillic letter


@pytest.mark.parametrize("text", ["acme", "A", "a.b_c-9", "x" * 64])
def test_a_text_that_is_a_tenant_stays(text: str) -> None:
    """1 to 64 letters, digits and `_ . -`, the first a letter or a digit."""
    assert (True, text) == (is_tenant(text), tenant_of(text))


@pytest.mark.parametrize(
    "text",
    ["", " acme", "acme\n", "a b", "-a", ".a", "a/b", "a@b", "x" * 65, LOOK_ALIKE, "acme\0", "é"],
)
def test_a_text_that_is_no_tenant_is_made_one(text: str) -> None:
    """What does not fit gets another name, which fits, with a digest of the whole text."""
    made = tenant_of(text)
    assert (False, True) == (is_tenant(text), is_tenant(made))
    assert made != text


def test_a_principal_may_have_an_at_sign() -> None:
    """E-mail addresses are names of principals, and of no tenant."""
    assert "a.b@example.com" == principal_of("a.b@example.com")
    assert (True, False) == (is_principal("a@b"), is_tenant("a@b"))


def test_who_is_called_like_a_made_name_is_not_its_owner() -> None:
    """A name that ends like a digest is made anew, so that nobody can choose another's."""
    victim = principal_of("auth0|5f7c")
    attacker = principal_of(victim)
    assert is_principal(attacker)
    assert victim != attacker


@given(st.text(max_size=80), st.text(max_size=80))
def test_two_texts_never_have_one_name(one: str, other: str) -> None:
    """Whatever the texts, different ones have different names, and each is a name."""
    for name_of, fits in ((tenant_of, is_tenant), (principal_of, is_principal)):
        assert fits(name_of(one))
        assert fits(name_of(name_of(one)))
        assert (one == other) == (name_of(one) == name_of(other))


@given(st.text(max_size=80))
def test_a_made_name_belongs_to_one_text(text: str) -> None:
    """No text has the name that was made for another, itself as a text included."""
    made = principal_of(text)
    assert (text == made) == (principal_of(made) == made)
