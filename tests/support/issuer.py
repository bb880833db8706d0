"""An issuer of tokens: keys, the document that publishes them, and tokens of every kind."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import get_default_algorithms

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER, AUDIENCE = "https://issuer.example.com", "gemini-backend"
ALGORITHMS = get_default_algorithms()
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def text_of(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A private key with its algorithm and its id."""

    def __init__(self, algorithm: str, kid: str | None, key: Any) -> None:
        self.algorithm, self.kid, self.key = algorithm, kid, key

    def jwk(self, **more: Any) -> dict[str, Any]:
        """Return the public key as the issuer publishes it."""
        public = ALGORITHMS[self.algorithm].to_jwk(self.key.public_key(), as_dict=True)
        public.pop("key_ops", None)
        named = {} if self.kid is None else {"kid": self.kid}
        return {**public, **named, **more}

    def token(
        self, claims: Mapping[str, Any] | str | bytes, header: Mapping[str, Any] | None = None
    ) -> str:
        """Return a token; `header` is added to what belongs there, a text of claims is as it is."""
        named = {} if self.kid is None else {"kid": self.kid}
        head = {"alg": self.algorithm, "typ": "JWT", **named, **(header or {})}
        body = claims if isinstance(claims, str | bytes) else json.dumps(claims)
        body = body.encode() if isinstance(body, str) else body
        signed = f"{text_of(json.dumps(head).encode())}.{text_of(body)}"
        signature = ALGORITHMS[self.algorithm].sign(signed.encode(), self.key)
        return f"{signed}.{text_of(signature)}"


@cache
def signer(algorithm: str = "RS256", kid: str | None = "one", bits: int = 2048) -> Signer:
    """Return a key of this id, the same each time."""
    if algorithm in _CURVES:
        return Signer(algorithm, kid, ec.generate_private_key(_CURVES[algorithm]))
    if algorithm == "EdDSA":
        return Signer(algorithm, kid, ed25519.Ed25519PrivateKey.generate())
    return Signer(algorithm, kid, rsa.generate_private_key(65537, bits))


def document(*signers: Signer) -> bytes:
    """Return what the issuer publishes."""
    return json.dumps({"keys": [one.jwk() for one in signers]}).encode()


def claims(now: float, **more: Any) -> dict[str, Any]:
    """Return good claims, valid for ten minutes; one that is None is left out."""
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": int(now) + 600,
        "sub": "alice",
        "tenant": "acme",
        **more,
    }
    return {name: value for name, value in good.items() if value is not None}
