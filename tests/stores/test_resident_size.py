"""What the cache counts as its bytes is what it takes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("size", [50, 600])
async def test_100_000_entries_stay_within_15_percent_of_the_counted_bytes(size: int) -> None:
    """By real resident size, in a process of its own, for small answers and usual ones."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.cache_memory",
        str(size),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    words = told.decode().split()
    counted, grown = int(words[1]), int(words[3])
    assert 0.85 <= grown / counted <= 1.15
