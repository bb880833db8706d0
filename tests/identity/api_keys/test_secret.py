"""What a secret looks like, and its hash."""

from __future__ import annotations

import hashlib
import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.identity.api_keys.secret import (
    SECRET_LENGTH,
    Hasher,
    id_in,
    new_id,
    new_secret,
)

KEY = bytes(range(32))


def test_a_secret_has_a_public_id_and_256_random_bits() -> None:
    """`gbk_ID_RANDOM`: 12 and 43 letters and digits, all different."""
    key = new_id()
    made = {new_secret(key) for _ in range(50)}
    assert 50 == len(made)
    assert all(re.fullmatch(rf"gbk_{key}_[A-Za-z0-9]{{43}}", secret) for secret in made)
    assert {key} == {id_in(secret) for secret in made}
    assert 50 == len({new_id() for _ in range(50)})


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: "",
        lambda secret: secret[:-1],
        lambda secret: secret + "a",
        lambda secret: secret.replace("gbk_", "GBK_"),
        lambda secret: secret[4:],
        lambda secret: " " + secret[:-1],
        lambda secret: secret[:16] + "a" + secret[17:],
        lambda secret: secret[:-1] + "é",
        lambda secret: secret[:-1] + "\ud800",
        lambda secret: "gbk_" * 15,
        lambda secret: secret * 1000,
    ],
)
def test_what_is_no_secret_has_no_id(change: object) -> None:
    """Whatever is shorter, longer, or of other letters names no key."""
    assert None is id_in(change(new_secret(new_id())))  # type: ignore[operator] # a function


@given(st.text(max_size=80))
def test_any_text_is_a_secret_or_none(text: str) -> None:
    """No text makes the parser fail, and only one of the right length has an id."""
    assert id_in(text) is None or len(text) == SECRET_LENGTH


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=80))
def test_the_hash_is_hmac_sha256_of_the_whole(text: str) -> None:
    """The hash is that of any other HMAC-SHA256, each time anew."""
    hasher = Hasher(KEY)
    expected = hmac.new(KEY, text.encode(), hashlib.sha256).digest()
    assert [expected, expected] == [hasher.of(text), hasher.of(text)]
    assert "Hasher()" == repr(hasher)
