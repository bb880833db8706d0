"""Tokenizers for tests: one that counts characters, one that cannot count, and the real one."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gemini_backend.clock import SystemClock
from gemini_backend.config import read
from gemini_backend.config.sections.tokens import TokensOptions
from gemini_backend.processing.tokens.counting import TokenCounter
from gemini_backend.processing.tokens.tokenizer import Tokenizer
from gemini_backend.processing.tokens.vocabulary import problem_with

if TYPE_CHECKING:
    from collections.abc import Sequence


class Characters(Tokenizer):
    """A token a character."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def count(self, texts: Sequence[str]) -> int:
        self.asked.append(list(texts))
        return sum(map(len, texts))


class NoTokenizer(Tokenizer):
    """No vocabulary is at hand."""

    def __init__(self) -> None:
        self.problem = "none is at hand"

    async def count(self, texts: Sequence[str]) -> None:
        return None


def counter_of(tokenizer: Tokenizer) -> TokenCounter:
    """Return a counter to which every name is a model's own."""
    return TokenCounter(tokenizer, lambda name: name)


def vocabulary_file() -> Path:
    """Return where the vocabulary lies by default; the test that asks is skipped without it."""
    file = Path(read(None, os.environ).config.tokens.vocabulary_file)
    problem = problem_with(file)
    if problem and os.environ.get("CI") == "true":
        raise RuntimeError(problem)
    if problem:
        pytest.skip(problem)
    return file


def real_tokenizer(**options: object) -> Tokenizer:
    """Return one that counts by the vocabulary; whoever makes it closes it."""
    made = TokensOptions(**{"vocabulary_file": str(vocabulary_file()), **options})  # type: ignore[arg-type] # by name
    return Tokenizer(lambda: made, SystemClock())


@cache
def vocabulary_of() -> dict[str, Any]:
    """Return the vocabulary as it is written."""
    found: dict[str, Any] = json.loads(vocabulary_file().read_bytes())
    return found
