"""Settings of authentication that are at odds with each other, or not safe.

Covers: config/sections/auth.py
"""

from __future__ import annotations

import pytest

from gemini_backend.config import ConfigError, read

JWT: dict[str, object] = {
    "auth.methods": ["jwt"],
    "auth.jwt.issuer": "https://issuer.example.com",
    "auth.jwt.audiences": ["gemini-backend"],
    "auth.jwt.jwks_url": "https://issuer.example.com/keys",
}


def refused(**more: object) -> list[str]:
    """Return the paths of the settings that are refused; `jwt__issuer` is `auth.jwt.issuer`."""
    options = {f"auth.{name.replace('__', '.')}": value for name, value in more.items()}
    try:
        read(None, {}, {**JWT, **options})
    except ConfigError as error:
        return [problem.path for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "url",
    [
        "https://issuer.example.com/keys",
        "https://issuer.example.com:8443/keys?tenant=1",
        "http://127.0.0.1:8080/keys",
        "http://[::1]/keys",
        "http://localhost/keys",
    ],
)
def test_keys_come_from_a_safe_address(url: str) -> None:
    """`https` anywhere, http on this machine only."""
    assert [] == refused(jwt__jwks_url=url)


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/keys",
        "http://127.0.0.1.example.com/keys",
        "http://localhost.example.com/keys",
        "http://127.0.0.1@evil.example.com/keys",
        "https://user:password@issuer.example.com/keys",
        "https:///keys",
        "https://issuer.example.com/#keys",
        "https://issuer.example.com:0/keys",
        "https://issuer.example.com:x/keys",
        "https://issuer.example.com/\nkeys",
        "file:///etc/passwd",
        "ftp://issuer.example.com/keys",
        "issuer.example.com/keys",
    ],
)
def test_an_address_that_is_not_safe_is_refused(url: str) -> None:
    """Whoever is on the way could publish keys of their own."""
    assert ["auth.jwt.jwks_url"] == refused(jwt__jwks_url=url)


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({"jwt__jwks_file": "keys.json"}, "auth.jwt.jwks_url"),
        ({"jwt__jwks_url": ""}, "auth.jwt.jwks_url"),
        ({"jwt__issuer": ""}, "auth.jwt.issuer"),
        ({"jwt__audiences": []}, "auth.jwt.audiences"),
        ({"jwt__algorithms": []}, "auth.jwt.algorithms"),
        ({"jwt__algorithms": ["HS256"]}, "auth.jwt.algorithms"),
        ({"jwt__algorithms": ["none"]}, "auth.jwt.algorithms"),
        ({"jwt__name_claim": ""}, "auth.jwt.name_claim"),
        ({"jwt__roles_claim": ""}, "auth.jwt.roles_claim"),
        ({"mtls__principals": [{"tenant": "a"}]}, "auth.mtls.principals"),
        (
            {"mtls__principals": [{"tenant": "a", "subject": "x", "san": "y"}]},
            "auth.mtls.principals",
        ),
        ({"mtls__principals": [{"tenant": "a b", "subject": "x"}]}, "auth.mtls.principals"),
        ({"mtls__principals": [{"tenant": "a", "san": "x", "name": "/"}]}, "auth.mtls.principals"),
        ({"mtls__principals": [{"tenant": "a", "san": "x"}] * 1001}, "auth.mtls.principals"),
    ],
)
def test_settings_at_odds_are_refused(more: dict[str, object], path: str) -> None:
    """The setting that is to be changed is named."""
    assert [path] == refused(**more)
