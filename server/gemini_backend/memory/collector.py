"""The garbage collector, for a server that leaves next to nothing to it."""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (5_000, 20, 20)
"""New objects until the youngest are looked through; and how often that, until older ones are."""


def settle_collector() -> None:
    """Leave what is there out of every later collection, and collect less often.

    For when a server is ready: what it has loaded stays until its end. A call's own objects go with
    the last reference to them, so what is left to the collector are two small ones of grpc.aio's a
    call, and what errors leave behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
