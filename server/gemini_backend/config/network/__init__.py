"""Addresses and proxies, as settings name them."""

from __future__ import annotations

from gemini_backend.config.network.listen import Listen, parse_listen

__all__ = ["Listen", "parse_listen"]
