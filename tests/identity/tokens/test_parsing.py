"""A token is taken apart strictly."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gemini_backend.errors import Unauthenticated
from gemini_backend.identity.tokens.parsing import MAX_CHARACTERS, parsed
from tests.support.issuer import text_of

HEADER = {"alg": "RS256", "kid": "one"}


def token(header: object = HEADER, payload: object = None, signature: str = "AAAA") -> str:
    """Return a token; a text is used as it is, anything else as JSON."""

    def part(value: object) -> str:
        return text_of((value if isinstance(value, str) else json.dumps(value)).encode())

    return f"{part(header)}.{part({} if payload is None else payload)}.{signature}"


def test_a_token_is_taken_apart() -> None:
    """Algorithm, key, claims, what is signed, and the signature."""
    found = parsed(token(payload={"sub": "a"}))
    assert ("RS256", "one", {"sub": "a"}) == (found.algorithm, found.kid, found.claims)
    assert token(payload={"sub": "a"}) == f"{found.signed.decode()}.AAAA"
    assert b"\0\0\0" == found.signature


def test_of_the_header_only_algorithm_and_key_are_read() -> None:
    """Keys in the header and addresses of keys (jwk, jku, x5u, x5c) mean nothing."""
    more = {"jwk": {"kty": "RSA"}, "jku": "https://evil", "x5u": "https://evil", "x5c": ["AA"]}
    assert parsed(token({**HEADER, **more})) == parsed(token({**HEADER, **more}))
    assert {"algorithm", "kid", "claims", "signed", "signature"} == set(
        type(parsed(token({**HEADER, **more}))).__slots__
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "..",
        "a.b",
        "a.b.c.d",
        token() + ".",
        token() + "=",
        token() + "\n",
        " " + token(),
        token().replace(".", " ."),
        token() + "A",
        token(signature="AB"),
        token(signature="AAA+"),
        token(signature="AAAA===="),
        token(signature="é"),
        token("[]"),
        token("null"),
        token(payload="[1]"),
        token(payload='"text"'),
        token(payload="{"),
        token(payload='{"sub": NaN}'),
        token(payload='{"sub": Infinity}'),
        token(payload='{"sub": "a", "sub": "b"}'),
        token(payload='{"a": {"b": 1, "b": 2}}'),
        token(payload='\ufeff{"sub": "a"}'),
        token('{"alg": "RS256", "alg": "none"}'),
        token(payload='{"a": ' + "[" * 5000 + "]" * 5000 + "}"),
        token(payload='{"exp": ' + "9" * 5000 + "}"),
        token({"kid": "one"}),
        token({"alg": None}),
        token({"alg": ["RS256"]}),
        token({"alg": "RS256", "kid": 1}),
        token({"alg": "RS256", "kid": ["one"]}),
        token({"alg": "RS256", "kid": "x" * 257}),
        token({**HEADER, "crit": ["exp"]}),
        token({**HEADER, "crit": []}),
        token({**HEADER, "b64": False}),
        "x" * (MAX_CHARACTERS + 1),
        token(payload={"sub": "x" * MAX_CHARACTERS}),
    ],
)
def test_what_is_not_a_token_is_refused(text: str) -> None:
    """A failed authentication, whatever is wrong, and the message repeats nothing of it."""
    with pytest.raises(Unauthenticated) as refused:
        parsed(text)
    assert "x" * 100 not in refused.value.message


@pytest.mark.parametrize("last", "BCDEFGHIJKLMNOP")
def test_a_signature_has_one_text(last: str) -> None:
    """Bits that decode to nothing must be zero: no other text is the same token."""
    assert parsed(token(signature="AA")).signature == b"\0"
    with pytest.raises(Unauthenticated):
        parsed(token(signature=f"A{last}"))


@given(st.text(max_size=200) | st.text(alphabet="eyJ.AZaz09-_=", max_size=200))
@example("\ud800.\ud800.\ud800")
def test_any_text_is_a_token_or_refused(text: str) -> None:
    """Nothing but a refusal comes of any text."""
    try:
        found = parsed(text)
    except Unauthenticated:
        return
    assert isinstance(found.claims, dict)


@given(st.binary(max_size=100))
def test_any_payload_is_claims_or_refused(payload: bytes) -> None:
    """Nothing but a refusal comes of any payload."""
    try:
        found = parsed(f"{text_of(json.dumps(HEADER).encode())}.{text_of(payload)}.AAAA")
    except Unauthenticated:
        return
    assert isinstance(found.claims, dict)
