"""The client's version, as the server sees it in the user agent."""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
