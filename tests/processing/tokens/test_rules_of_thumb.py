"""Tokens by rule of thumb."""

from __future__ import annotations

import pytest

from gemini_backend.processing.tokens.rules_of_thumb import (
    ample_tokens,
    ample_tokens_of,
    typical_tokens,
)


@pytest.mark.parametrize(("size", "typical", "ample"), [(0, 0, 0), (3, 1, 1), (4, 1, 2), (5, 2, 2)])
def test_a_part_of_a_token_is_a_token(size: int, typical: int, ample: int) -> None:
    """Four characters are typically one token, amply three bytes, and both are rounded up."""
    assert (typical, ample) == (typical_tokens(size), ample_tokens(size))


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("語", 1), ("語a", 2), ("\ud800", 1)])
def test_a_text_is_judged_by_its_bytes(text: str, tokens: int) -> None:
    """A character may have several bytes; one that cannot be encoded counts as one."""
    assert tokens == ample_tokens_of(text)
