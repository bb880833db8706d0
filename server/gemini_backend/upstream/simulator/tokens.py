"""Counting tokens: not Gemini's counts, but deterministic ones that add up.

A text is cut into pieces of at most six letters, each with the blanks before it: the tokens.
Generated text is sent, limited and counted in the same pieces: what was sent is what is billed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.wire import Json, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

_PIECE = re.compile(r"\s*(?:[^\W_]{1,6}|[^\w\s]|_)|\s+")

# Tokens of one image, page or short clip, whatever its size.
MEDIA_TOKENS = 258


def pieces(text: str) -> list[str]:
    """``text`` cut into tokens; joined they are ``text`` again."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens ``text`` has."""
    return sum(1 for _ in _PIECE.finditer(text))


def count_parts(parts: Iterable[Json]) -> dict[str, int]:
    """Tokens of ``parts`` by modality, such as ``{"TEXT": 12, "IMAGE": 258}``."""
    totals: dict[str, int] = {}
    for part in parts:
        media = part.get("inlineData") or part.get("fileData")
        if media is not None:
            kind = modality(media.get("mimeType", ""))
            totals[kind] = totals.get(kind, 0) + MEDIA_TOKENS
        else:
            text = part["text"] if "text" in part else _as_text(part)
            totals["TEXT"] = totals.get("TEXT", 0) + count(text)
    return totals


def count_contents(contents: Iterable[Json]) -> dict[str, int]:
    """Tokens of whole turns by modality: their parts, and one for each turn."""
    totals: dict[str, int] = {}
    for content in contents:
        for kind, tokens in count_parts(content.get("parts", ())).items():
            totals[kind] = totals.get(kind, 0) + tokens
        totals["TEXT"] = totals.get("TEXT", 0) + 1
    return totals


def details(totals: dict[str, int]) -> list[Json]:
    """The ``...TokensDetails`` list of counts by modality."""
    return [{"modality": kind, "tokenCount": tokens} for kind, tokens in totals.items() if tokens]


def modality(mime_type: str) -> str:
    """Gemini's word for a MIME type."""
    family = mime_type.partition("/")[0]
    known = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO", "text": "TEXT"}
    return known.get(family, "DOCUMENT")


def _as_text(part: Json) -> str:
    bare = {key: value for key, value in part.items() if key != "thoughtSignature"}
    return encode(bare).decode()
