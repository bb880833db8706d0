"""A master key as text."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.config import ConfigError
from gemini_backend.config.loading import read
from gemini_backend.config.master_key import master_key_bytes

KEY = bytes(range(200, 232))
VARIABLE = "GEMINI_BACKEND_SECRETS__MASTER_KEY"


@given(st.sets(st.integers(0, 255), min_size=32, max_size=32).map(bytes))
def test_every_spelling_is_the_same_key(key: bytes) -> None:
    """Base64 of either alphabet, with and without padding, and hexadecimal digits."""
    plain, safe = b64encode(key).decode(), urlsafe_b64encode(key).decode()
    texts = (plain, plain.rstrip("="), safe, safe.rstrip("="), key.hex(), key.hex().upper())
    assert {key} == {master_key_bytes(text) for text in texts}


@pytest.mark.parametrize(
    "text",
    ["", "short", KEY.hex()[:-2], KEY.hex() + "00", b64encode(KEY + b"1").decode(), "ü" * 43],
)
def test_anything_else_is_refused_without_being_quoted(text: str) -> None:
    """A text of another length or alphabet is no key."""
    with pytest.raises(ValueError, match="openssl rand") as refused:
        master_key_bytes(text)
    assert text == "" or text not in str(refused.value)


@pytest.mark.parametrize("key", [bytes(32), b"ab" * 16, b"\x01\x02\x03\x04" * 8])
def test_a_key_that_is_not_random_is_refused(key: bytes) -> None:
    """Such as zeros, or a pattern."""
    with pytest.raises(ValueError, match="not a random key"):
        master_key_bytes(key.hex())


def test_the_configuration_is_refused_as_a_whole() -> None:
    """The error names the setting and the place in it, and not the key."""
    with pytest.raises(ConfigError, match=r"secrets\.master_key\[1\]") as refused:
        read(None, {VARIABLE: f"{KEY.hex()},{KEY.hex()}99"})
    assert KEY.hex() not in str(refused.value)


def test_one_source_of_master_keys() -> None:
    """Keys and a file with keys together are refused."""
    both = {VARIABLE: KEY.hex(), "GEMINI_BACKEND_SECRETS__MASTER_KEY_FILE": "/x"}
    with pytest.raises(ConfigError, match="both set"):
        read(None, both)
