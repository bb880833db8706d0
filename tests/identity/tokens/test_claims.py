"""Claims: for whom, from whom, and when."""

from __future__ import annotations

from typing import Any

import pytest

from gemini_backend.config.sections.auth import JwtOptions
from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.tokens.claims import check_claims
from tests.support.issuer import AUDIENCE, ISSUER, claims

NOW = 1_800_000_000.0
OPTIONS = JwtOptions(
    issuer=ISSUER, audiences=(AUDIENCE, "other"), jwks_file="keys", leeway_seconds=30
)


def expiry(**more: Any) -> float:
    """Return when a token with these claims expires."""
    return check_claims(claims(NOW, **more), OPTIONS, NOW)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"aud": ["x", "other"]},
        {"exp": NOW - 29.5},
        {"nbf": NOW + 30},
        {"iat": NOW + 30},
        {"nbf": 0, "iat": 0},
        {"unknown": {"deep": [1]}},
    ],
)
def test_good_claims_are_accepted(more: dict[str, Any]) -> None:
    """One of the audiences, and times within the leeway."""
    assert more.get("exp", NOW + 600) == expiry(**more)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"iss": None}, "no iss"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": ISSUER.upper()}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"iss": ""}, "issuer"),
        ({"aud": None}, "no aud"),
        ({"aud": "gemini"}, "audience"),
        ({"aud": AUDIENCE + " other"}, "audience"),
        ({"aud": []}, "audience"),
        ({"aud": [[AUDIENCE]]}, "aud"),
        ({"aud": {AUDIENCE: 1}}, "aud"),
        ({"aud": 1}, "aud"),
        ({"exp": None}, "no exp"),
        ({"exp": NOW - 30}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": -1}, "exp"),
        ({"exp": str(int(NOW) + 600)}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": float("nan")}, "exp"),
        ({"exp": float("inf")}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"exp": 10**4000}, "exp"),
        ({"exp": [NOW + 600]}, "exp"),
        ({"nbf": NOW + 31}, "nbf"),
        ({"nbf": "0"}, "nbf"),
        ({"nbf": float("nan")}, "nbf"),
        ({"iat": NOW + 31}, "iat"),
        ({"iat": False}, "iat"),
    ],
)
def test_other_claims_are_refused(more: dict[str, Any], why: str) -> None:
    """The message says which claim is wrong, and nothing of what is expected."""
    with pytest.raises(Unauthenticated, match=why) as refused:
        expiry(**more)
    assert ISSUER not in refused.value.message


@pytest.mark.parametrize("name", ["exp", "nbf"])
def test_a_claim_that_is_null_is_no_time(name: str) -> None:
    """A time that is there must be a number."""
    with pytest.raises(Unauthenticated):
        check_claims({**claims(NOW), name: None}, OPTIONS, NOW)
