"""Long texts are cut where no token can lie across the cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend.processing.tokens.text_chunks import PIECE, pieces
from tests.support.messages.tokenizers import real_tokenizer, vocabulary_of

WORDS = st.text(st.sampled_from(" \n\t>▁ab<é語\U0001f600"), min_size=1, max_size=60)


@given(WORDS, st.integers(1, 3 * PIECE))
def test_pieces_are_the_text(word: str, length: int) -> None:
    """Nothing is lost, added or moved, and no piece is empty."""
    text = (word * (length // len(word) + 1))[:length]
    found = list(pieces(text))
    assert text == "".join(found)
    assert all(found)


@pytest.mark.parametrize("word", ["some words\n", "語漢字。\n", "> </b> x\n", " \n", "word "])
def test_pieces_are_short(word: str) -> None:
    """Where there are safe places, no piece is much longer than it should be."""
    assert PIECE + 2048 > max(map(len, pieces(word * 200_000)))


@pytest.mark.parametrize("word", ["a", " ", "\n", "語", "> <"])
def test_what_has_no_safe_place_is_cut_in_the_end(word: str) -> None:
    """Not even a text without any grows into one piece."""
    assert 10 * PIECE > max(map(len, pieces(word * 2_000_000)))


def test_no_token_lies_across_a_cut() -> None:
    """No token of the vocabulary holds what the cuts go between: it is searched for each."""
    tokens = vocabulary_of()["model"]["vocab"]
    added = [token["content"] for token in vocabulary_of()["added_tokens"]]
    across = [
        token
        for token in [*tokens, *added]
        if any(
            (mark == "▁" and before not in "▁>") or (mark == "\n" != before)
            for before, mark in itertools.pairwise(token)
        )
    ]
    assert [] == across


@pytest.mark.parametrize(
    "text", ["Some words, 12 of them.\n\n  x = {1: '>'}\n", "a> </b>  c\u2581 d ", "語漢、 字。\n"]
)
async def test_pieces_come_to_the_whole(text: str) -> None:
    """A text's tokens are those of its pieces, to the last one."""
    tokenizer = real_tokenizer()
    try:
        long = "".join(f"{number}{text}" for number in range(3 * PIECE // len(text)))
        expected = await tokenizer._ask([long])
        tokenizer._counts.clear()
        assert expected == await tokenizer.count([long])
        assert 2 < len(tokenizer._counts)
    finally:
        await tokenizer.aclose()
