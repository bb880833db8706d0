"""Who waits for memory, in turn among owners."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator


class Waiter:
    """One that waits; `ready` is set to its hold when it is let in, to None when it is refused.

    `held` is the bytes that wait with it, `size` the bytes that it needs.
    """

    __slots__ = ("held", "owner", "ready", "size")

    def __init__(self, owner: str, held: int, size: int, ready: asyncio.Future[Any]) -> None:
        """Wait for `size` bytes."""
        self.owner = owner
        self.held = held
        self.size = size
        self.ready = ready


class WaitingLine:
    """Owners take turns; each one's own are served in the order in which they came."""

    __slots__ = ("_owners", "count", "held")

    def __init__(self) -> None:
        """Begin empty."""
        self._owners: OrderedDict[str, deque[Waiter]] = OrderedDict()
        self.count = 0
        self.held: dict[str, int] = {}  # bytes that wait, by owner

    def add(self, waiter: Waiter) -> None:
        """Put a waiter behind its owner's others; a new owner comes last."""
        self._owners.setdefault(waiter.owner, deque()).append(waiter)
        self.count += 1
        self.held[waiter.owner] = self.held.get(waiter.owner, 0) + waiter.held

    def heads(self) -> Iterator[Waiter]:
        """Yield the first one of each owner, in the order of their turns; all of them stay."""
        for line in self._owners.values():
            yield line[0]

    def others_than(self, owner: str) -> bool:
        """Say whether anybody else waits."""
        return len(self._owners) > (owner in self._owners)

    def remove(self, waiter: Waiter) -> bool:
        """Take a waiter out, and end its owner's turn; say whether it was there."""
        line = self._owners.get(waiter.owner)
        if line is None or waiter not in line:
            return False
        line.remove(waiter)
        self.count -= 1
        self.held[waiter.owner] -= waiter.held
        if line:
            self._owners.move_to_end(waiter.owner)
        else:
            del self._owners[waiter.owner], self.held[waiter.owner]
        return True

    def newest_of_most(self) -> Waiter | None:
        """Return the newest waiter of the owner that holds the most here; None where nobody is."""
        if not self.held:
            return None
        owner = max(self.held, key=self.held.__getitem__)
        return self._owners[owner][-1]
