"""What there is to set: the catalogue of all settings, and their reference page."""

from __future__ import annotations

from gemini_backend.config.reference.catalogue import Setting, nearest, settings

__all__ = ["Setting", "nearest", "settings"]
