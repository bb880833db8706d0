"""Credentials of each method, with what knows them, made for the measurement."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from jwt.algorithms import get_default_algorithms

from gemini_backend.clock import SystemClock
from gemini_backend.config.sections.auth import JwtOptions, SecretsOptions
from gemini_backend.identity.api_keys import ApiKeys, NewKey, open_keys
from gemini_backend.identity.tokens import Tokens
from gemini_backend.keyring import LazyKeyring
from gemini_backend.wall_clock import WallClock

if TYPE_CHECKING:
    from pathlib import Path

ISSUER, AUDIENCE = "https://issuer.example.com", "gemini-backend"
MAKERS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
KEYS = 1000


@dataclass(frozen=True, slots=True)
class Known:
    """API keys and tokens, and what knows them; `secret` is one of the keys."""

    keys: ApiKeys
    secret: str
    tokens: Tokens
    issuer: Issuer
    certificate: bytes

    async def aclose(self) -> None:
        """Closes what was opened."""
        await self.tokens.aclose()
        await self.keys.aclose()


class Issuer:
    """Signs tokens as an identity provider does, by one key per algorithm."""

    def __init__(self) -> None:
        """Makes the keys."""
        self._keys = {name: make() for name, make in MAKERS.items()}
        self._made = 0

    def document(self) -> str:
        """Returns the JWKS document."""
        library = get_default_algorithms()
        listed = [
            library[name].to_jwk(key.public_key(), as_dict=True) | {"kid": name, "alg": name}
            for name, key in self._keys.items()
        ]
        for one in listed:
            one.pop("key_ops", None)
        return json.dumps({"keys": listed})

    def token(self, algorithm: str) -> str:
        """Returns a token of the usual claims, another one each time."""
        self._made += 1
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "exp": now + 3600,
            "iat": now,
            "nbf": now,
            "jti": f"{self._made:032x}",
            "sub": "6f1c7f2e-5b0c-4c6e-9f55-3d2f8f3d9a10",
            "tenant": "acme",
            "roles": ["caller", "offline_access"],
            "scope": "openid profile email",
            "email": "alice@acme.example.com",
        }
        return jwt.encode(claims, self._keys[algorithm], algorithm, headers={"kid": algorithm})


async def known(folder: Path) -> Known:
    """Returns keys and tokens, with `KEYS` keys in a store in `folder`."""
    clock, wall = SystemClock(), WallClock()
    keyring = LazyKeyring(str(folder), SecretsOptions())
    keys = ApiKeys(open_keys(str(folder), keyring, clock=clock), clock=clock, wall=wall)
    await keys.refresh()
    secret = ""
    for number in range(KEYS):
        _, secret = await keys.create(NewKey(tenant=f"tenant{number % 10}"))
    issuer, file = Issuer(), folder / "jwks.json"
    file.write_text(issuer.document())
    options = JwtOptions(issuer=ISSUER, audiences=(AUDIENCE,), jwks_file=str(file))
    tokens = Tokens.of(options, clock, wall, {})
    await tokens.start()
    return Known(keys, secret, tokens, issuer, _certificate())


def _certificate() -> bytes:
    """Returns a client certificate as PEM, as gRPC hands it on."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    kinds = (x509.NameOID.ORGANIZATION_NAME, x509.NameOID.COMMON_NAME)
    name = x509.Name(
        [
            x509.NameAttribute(kind, text)
            for kind, text in zip(kinds, ("Acme", "alice"), strict=True)
        ]
    )
    sans = [x509.UniformResourceIdentifier("spiffe://acme.example.com/alice")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(sans), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)
