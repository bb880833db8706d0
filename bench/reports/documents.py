"""Puts what a command prints into the documentation, between its marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def marks(name: str) -> tuple[str, str]:
    """Returns the lines between which the block of that name is."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def write(document: Path, block: str, name: str = "bench") -> None:
    """Replaces the block of that name in `document`; without one it is added at the end."""
    begin, end = marks(name)
    text = document.read_text() if document.exists() else "# Speed and memory\n"
    if begin not in text or end not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin, 1)
    after = rest.split(end, 1)[1]
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(f"{before}{begin}\n{block}\n{end}{after}")
