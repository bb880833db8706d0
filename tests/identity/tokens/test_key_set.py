"""What of a JWKS document can verify signatures, and what cannot."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.identity.tokens.key_set import MAX_KEYS, KeySet, UnusableKeysError
from tests.support.issuer import ALGORITHMS, Signer, document, signer

ALL = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA")
KEYS = {name: signer(name, name) for name in ("RS256", "ES256", "ES384", "ES512", "EdDSA")}


def read(*keys: Any, accepted: tuple[str, ...] = ALL) -> KeySet:
    """Return the set of a document with these keys."""
    return KeySet.of(json.dumps({"keys": list(keys)}).encode(), accepted)


def why(*keys: Any) -> list[str]:
    """Return why these keys are ignored."""
    return [reason for _, reason in read(*keys).ignored]


@pytest.mark.parametrize("name", KEYS)
def test_a_key_verifies_by_its_algorithms(name: str) -> None:
    """A right signature is right; by any other algorithm, or of another text, it is not."""
    made, (key,) = KEYS[name], read(KEYS[name].jwk()).keys
    signature = ALGORITHMS[name].sign(b"text", made.key)
    assert key.verifies(name, b"text", signature)
    assert not key.verifies(name, b"other", signature)
    assert not key.verifies(name, b"text", signature[:-1])
    assert not key.verifies(name, b"text", b"")
    assert not key.verifies(name, b"text", bytes(len(signature)))
    for other in {*ALGORITHMS, "NONE", ""} - key.algorithms:
        assert not key.verifies(other, b"text", signature)


def test_a_key_fits_only_what_its_type_can_be() -> None:
    """An RSA key verifies RS and PS, each curve one algorithm, and none verifies HMAC or none."""
    found = {key.kid: key.algorithms for key in read(*(one.jwk() for one in KEYS.values())).keys}
    assert {
        "RS256": {"RS256", "PS256"},
        "ES256": {"ES256"},
        "ES384": {"ES384"},
        "ES512": {"ES512"},
        "EdDSA": {"EdDSA"},
    } == found


def test_only_accepted_algorithms_count() -> None:
    """A key that fits no accepted algorithm is ignored; one that names its own has only that."""
    rsa = KEYS["RS256"]
    assert [] == list(read(rsa.jwk(), accepted=("ES256",)).keys)
    (key,) = read(rsa.jwk(alg="PS256")).keys
    assert {"PS256"} == key.algorithms
    assert [] == list(read(rsa.jwk(alg="HS256")).keys)
    assert [] == list(read(rsa.jwk(alg=["RS256"])).keys)


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_weak_key_is_ignored(bits: int) -> None:
    """RSA keys of less than 2048 bits verify nothing."""
    assert [f"it has {bits} bits, and must have 2048 to 8192"] == why(
        signer("RS256", "weak", bits).jwk()
    )


@pytest.mark.parametrize(
    "more",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"d": "AQAB"},
        {"n": ""},
        {"n": 5},
        {"e": "AA"},
        {"e": None},
        {"kty": "EC"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": ["RSA"]},
        {"crv": "P-256"},
    ],
)
def test_a_broken_key_is_ignored(more: dict[str, Any]) -> None:
    """A key for another purpose, one with secret parts, or one that is none; others stay."""
    found = read(KEYS["RS256"].jwk(**more), KEYS["ES256"].jwk())
    assert ["ES256"] == [key.kid for key in found.keys]
    assert ["RS256"] == [kid for kid, _ in found.ignored]


def test_a_symmetric_key_is_ignored() -> None:
    """A secret in the document verifies nothing: whoever reads it could sign."""
    assert 1 == len(why({"kty": "oct", "kid": "s", "k": "c2VjcmV0", "alg": "HS256"}))


def test_a_point_off_the_curve_is_ignored() -> None:
    """Numbers that are not of the curve are not a key."""
    jwk = KEYS["ES256"].jwk()
    assert ["its numbers are not those of a key"] == why({**jwk, "y": jwk["x"]})
    assert 1 == len(why({**jwk, "crv": "P-384"}))
    assert 1 == len(why({**jwk, "crv": "secp256k1"}))


def test_keys_of_a_document_are_bounded() -> None:
    """A document with too many keys is refused whole."""
    with pytest.raises(UnusableKeysError, match="65 keys"):
        read(*[{}] * (MAX_KEYS + 1))
    assert MAX_KEYS == len(why(*[{}] * MAX_KEYS))


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b'{"keys": {}}', b"\xff", b"[" * 100_000, b'{"a": 1}']
)
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    """An answer that is no JWKS document is a failure of the source, not an empty set."""
    with pytest.raises(UnusableKeysError):
        KeySet.of(text, ALL)


def test_an_empty_set_has_no_keys() -> None:
    """A document may have no key at all."""
    assert frozenset() == read().keys


def test_keys_are_found_by_id_and_algorithm() -> None:
    """With an id only the key of that very id; without one all that fit the algorithm."""
    found = KeySet.of(document(*KEYS.values(), signer("ES256", "other")), ALL)
    assert ["ES256"] == [key.kid for key in found.fitting("ES256", "ES256")]
    assert {"ES256", "other"} == {key.kid for key in found.fitting("ES256", None)}
    assert [] == found.fitting("ES256", "RS256")
    assert [] == found.fitting("ES256", "es256")
    assert [] == found.fitting("ES256", "")
    assert [] == found.fitting("none", None)


def test_equal_keys_verify_the_same() -> None:
    """The same key under the same id is equal, however often it is read; a new one is not."""
    again = Signer("RS256", "RS256", signer("RS256", "new").key)
    assert read(KEYS["RS256"].jwk()).keys == read(KEYS["RS256"].jwk(x5t="AA")).keys
    assert read(KEYS["RS256"].jwk()).keys != read(again.jwk()).keys


def test_a_key_shows_nothing_of_itself() -> None:
    """Its text has the id and the algorithms."""
    (key,) = read(KEYS["RS256"].jwk()).keys
    assert "_public" not in repr(key)
    assert key.encoded.hex()[:16] not in repr(key)
    assert (
        KEYS["RS256"].key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        == key.encoded
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["kty", "n", "e", "crv", "x", "y", "kid", "use", "alg", "key_ops"]),
            VALUES | st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "AQAB"]),
        )
        | VALUES,
        max_size=4,
    )
)
def test_any_list_is_read(keys: list[Any]) -> None:
    """Whatever the keys are, each is used or ignored with a reason."""
    found = read(*keys)
    assert len(keys) >= len(found.keys) + len(set(found.ignored)) > -1
