"""Which of the oldest turns have to go, for those that stay to have room."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def oldest_to_go(sizes: Sequence[int], room: int, may_begin: Callable[[int], bool]) -> int:
    """Return how many have to go, from the first one on: as few as will do, all at the most.

    Args:
        sizes: Tokens of each, the oldest first.
        room: How many tokens may stay.
        may_begin: Says of a place whether what stays may begin there: results of function calls,
            for one, may not be parted from their calls.
    """
    left = sum(sizes)
    count = 0
    while count < len(sizes) and (left > room or not may_begin(count)):
        left -= sizes[count]
        count += 1
    return count
