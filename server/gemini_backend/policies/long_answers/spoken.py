"""Whether parts of an answer say anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gemini.backend.v1.content_pb2 import Part


def speaks(parts: Iterable[Part]) -> tuple[bool, bool]:
    """Tell whether parts hold anything at all, and whether that is more than thoughts."""
    anything = False
    for part in parts:
        kind = part.WhichOneof("data")
        if kind is None or (kind == "text" and not part.text):
            continue
        if kind != "text" or not part.thought:
            return True, True
        anything = True
    return anything, False
