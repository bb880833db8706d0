"""The call of an RPC: its name."""

from __future__ import annotations

import re
import time

from gemini_backend.rpc.call_factory import new_execution_id


def test_ids_are_different_and_in_the_order_of_time() -> None:
    """26 hexadecimal digits: eleven of the time in milliseconds, fifteen at random."""
    before = time.time_ns() // 1_000_000
    ids = [new_execution_id() for _ in range(2_000)]
    after = time.time_ns() // 1_000_000
    assert all(re.fullmatch("[0-9a-f]{26}", one) for one in ids)
    times = [int(one[:11], 16) for one in ids]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after
    assert len(ids) == len({one[11:] for one in ids})
