"""A JSON Web Key Set, read: the public keys that signatures can be verified with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from jwt.exceptions import PyJWTError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_KEYS: Final = 64
"""Most keys of a set; one with more is refused whole."""
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 8192

_RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
# By type and curve: what a signature of the key can be. Nothing else verifies by it.
_FITTING: Final = {
    "RSA": _RSA,
    "EC P-256": ("ES256",),
    "EC P-384": ("ES384",),
    "EC P-521": ("ES512",),
    "OKP Ed25519": ("EdDSA",),
    "OKP Ed448": ("EdDSA",),
}
_PUBLIC: Final = ("kty", "n", "e", "crv", "x", "y")
_SECRET: Final = ("d", "p", "q", "k")
_LIBRARY: Final = get_default_algorithms()


class UnusableKeysError(Exception):
    """The keys cannot be had; says why, with nothing secret in it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key. Two are equal if they verify the same tokens.

    Attributes:
        kid: Its id; empty for none.
        algorithms: Those that it fits and that are accepted.
        encoded: The key itself, as DER.
    """

    kid: str
    algorithms: frozenset[str]
    encoded: bytes = field(repr=False)
    _public: Any = field(compare=False, repr=False)

    def verifies(self, algorithm: str, signed: bytes, signature: bytes) -> bool:
        """Say whether a signature by one of its algorithms is right."""
        if algorithm not in self.algorithms:
            return False
        return bool(_LIBRARY[algorithm].verify(signed, self._public, signature))


class KeySet:
    """The usable keys of a document, and why others are not."""

    def __init__(self, keys: Iterable[Key] = (), ignored: Sequence[tuple[str, str]] = ()) -> None:
        """Hold keys, and of each ignored one its id and the reason."""
        self.keys = frozenset(keys)
        self.ignored = tuple(ignored)

    @classmethod
    def of(cls, document: bytes, accepted: Sequence[str]) -> KeySet:
        """Return the keys of a JWKS document that fit one of the accepted algorithms.

        Raises:
            UnusableKeysError: it is not a JWKS document, or has more than `MAX_KEYS` keys.
        """
        try:
            listed = json.loads(document).get("keys")
        except (ValueError, AttributeError, RecursionError):
            listed = None
        if not isinstance(listed, list):
            raise UnusableKeysError("it is not a JSON Web Key Set, an object with a list `keys`")
        if len(listed) > MAX_KEYS:
            msg = f"it has {len(listed)} keys, and may have at most {MAX_KEYS}"
            raise UnusableKeysError(msg)
        keys, ignored = [], []
        for one in listed:
            try:
                keys.append(_key(one, accepted))
            except UnusableKeysError as error:
                ignored.append((_kid(one)[:64], str(error)))
        return cls(keys, ignored)

    def fitting(self, algorithm: str, kid: str | None) -> list[Key]:
        """Return the keys that a token may be signed with: those of its id, or all without one."""
        return [
            key
            for key in self.keys
            if algorithm in key.algorithms and (kid is None or key.kid == kid)
        ]


def _key(jwk: Any, accepted: Sequence[str]) -> Key:
    """Return a key.

    Raises:
        UnusableKeysError: it is for another purpose or algorithm, is not public, weak, or broken.
    """
    if not isinstance(jwk, dict):
        raise UnusableKeysError("it is not an object")
    if any(name in jwk for name in _SECRET):
        raise UnusableKeysError("it is not a public key: it has secret parts; replace the key")
    operations = jwk.get("key_ops", ["verify"])
    signs = isinstance(operations, list) and "verify" in operations
    if jwk.get("use", "sig") != "sig" or not signs:
        raise UnusableKeysError("it is not for signatures")
    kind = f"{jwk.get('kty')} {jwk.get('crv', '')}".strip()
    fitting = [one for one in _FITTING.get(kind, ()) if one in accepted]
    if "alg" in jwk:
        fitting = [one for one in fitting if one == jwk["alg"]]
    if not fitting:
        raise UnusableKeysError("it fits no algorithm of auth.jwt.algorithms")
    public = {name: jwk[name] for name in _PUBLIC if name in jwk}
    try:
        loaded: Any = _LIBRARY[fitting[0]].from_jwk(public)
        encoded = loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, AttributeError) as error:
        raise UnusableKeysError("its numbers are not those of a key") from error
    if isinstance(loaded, RSAPublicKey) and not MIN_RSA_BITS <= loaded.key_size <= MAX_RSA_BITS:
        msg = f"it has {loaded.key_size} bits, and must have {MIN_RSA_BITS} to {MAX_RSA_BITS}"
        raise UnusableKeysError(msg)
    return Key(_kid(jwk), frozenset(fitting), encoded, loaded)


def _kid(jwk: Any) -> str:
    kid = jwk.get("kid") if isinstance(jwk, dict) else None
    return kid if isinstance(kid, str) else ""
