"""How models are named."""

from __future__ import annotations


def full_name(model: str) -> str:
    """Return `models/{model}` for a short name, and a full name as it is."""
    return model if "/" in model else f"models/{model}"


def short_name(model: str) -> str:
    """Return `{model}` without its collection."""
    return model.rpartition("/")[2]
