"""Measures a server: latency and CPU time by row, memory, where its time goes."""

from __future__ import annotations

from bench.measures.comparisons import comparison_table, paired_ratio
from bench.measures.memory import Memory
from bench.measures.rows import LONG, SHORT, Series

__all__ = [
    "LONG",
    "SHORT",
    "Memory",
    "Series",
    "comparison_table",
    "paired_ratio",
]
