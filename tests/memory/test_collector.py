"""The garbage collector has next to nothing to do while calls are served."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from gemini_backend.memory import settle_collector
kept = [[] for _ in range(1000)]
settle_collector()
print(gc.get_freeze_count() > 1000, gc.get_count()[0] < 1000, *gc.get_threshold())
"""


def test_what_is_loaded_is_left_out_of_collections() -> None:
    """Objects that are there are frozen, and younger ones are looked through less often."""
    # in another process: what is frozen stays so
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert "True True 5000 20 20\n" == done.stdout
