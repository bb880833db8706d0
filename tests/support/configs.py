"""The tree of settings alone, without where each came from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.config import read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gemini_backend.config import Config


def load(file: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the tree of all sources."""
    return read(file, environ).config
