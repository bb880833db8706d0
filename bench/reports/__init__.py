"""The table of figures, the goals, and the block in the documentation."""

from __future__ import annotations

from bench.reports import documents

__all__ = ["documents"]
