"""Bytes under a key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.keyring import Sealer, SealError

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


@given(st.binary(max_size=300), st.text(max_size=50))
def test_what_was_sealed_is_opened(data: bytes, bound_to: str) -> None:
    """With the same key and the same purpose."""
    assert data == Sealer(KEY).open(Sealer(KEY).seal(data, bound_to), bound_to)


@given(st.binary(max_size=40), st.integers(0), st.integers(1, 255))
def test_no_changed_byte_is_accepted(data: bytes, place: int, change: int) -> None:
    """Nonce, ciphertext and tag are authenticated."""
    sealed = bytearray(Sealer(KEY).seal(data, "a"))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(SealError):
        Sealer(KEY).open(bytes(sealed), "a")


@pytest.mark.parametrize("size", [0, 1, 11, 12, 13, 27])
def test_what_is_cut_short_is_refused(size: int) -> None:
    """At any length."""
    with pytest.raises(SealError):
        Sealer(KEY).open(Sealer(KEY).seal(b"", "a")[:size], "a")


def test_another_key_or_purpose_opens_nothing() -> None:
    """The data belongs to one purpose."""
    sealed = Sealer(KEY).seal(b"secret", "a")
    for sealer, bound_to in ((Sealer(OTHER), "a"), (Sealer(KEY), "b")):
        with pytest.raises(SealError):
            sealer.open(sealed, bound_to)


def test_the_same_data_is_sealed_differently() -> None:
    """Equal secrets cannot be seen to be equal."""
    assert Sealer(KEY).seal(b"secret", "a") != Sealer(KEY).seal(b"secret", "a")


def test_a_key_of_another_size_is_refused() -> None:
    """AES-256 only."""
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(bytes(16))
