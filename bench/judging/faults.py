"""The faults of the resilience benchmark: how often, and which."""

from __future__ import annotations

import json
from typing import Any

SHARE = 20.0
"""Per cent of all attempts that meet one, unless told otherwise."""

# Words for the table, per cent of all attempts where `SHARE` is, and the simulator's fault.
MIX: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("503 overloaded", 5, {"fault": "overloaded"}),
    ("500", 3, {"fault": "internal"}),
    ("504", 1, {"fault": "deadline"}),
    ("429 without details", 1, {"fault": "rate_limit_bare"}),
    ("a reset connection", 2, {"fault": "reset"}),
    ("an HTML page", 1, {"fault": "html", "code": 502}),
    ("an empty answer", 1, {"fault": "empty"}),
    ("an error inside a 200", 1, {"fault": "stream_error", "after": 0}),
    ("garbage", 1, {"fault": "garbage", "after": 0}),
    ("two seconds to the first piece", 1, {"fault": "first_byte_delay", "seconds": 2}),
    ("cut in the middle", 1, {"fault": "cut", "after": 2}),
    ("reset in the middle", 0.5, {"fault": "reset", "after": 2}),
    ("an error in the middle", 1, {"fault": "stream_error", "after": 2}),
    ("silence in the middle", 0.5, {"fault": "stall", "after": 2}),
)


def script(seed: int, share: float = SHARE) -> bytes:
    """Returns the simulator's script: each fault by a chance of its own.

    The chances are such that none of them strikes in exactly 100 - `share` per cent of all
    attempts; now and then two strike together.
    """
    spared = 1 - share / 100
    rules = [
        {"match": {"probability": 1 - spared ** (part / SHARE)}, "fault": fault}
        for _, part, fault in MIX
    ]
    return json.dumps({"seed": seed, "rules": rules}).encode()
